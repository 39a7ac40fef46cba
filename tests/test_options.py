"""Options: wrong names and values are errors, and options without effect are logged."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import OptionError
from jina_embeddings.options import DTYPES, ONLY_PADDED, ONLY_VLLM, Options, make_options

ENGINES = ("vllm", "torch", "transformers", "fake")
NAMES = {option.name for option in dataclasses.fields(Options)}
WHOLE_NUMBERS = (
    "max_model_len",
    "min_pixels",
    "max_pixels",
    "max_batch_tokens",
    "max_num_batched_tokens",
    "max_num_seqs",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_arguments_options_have_their_defaults(engine: str) -> None:
    assert make_options({}, engine) == Options()


def test_given_values_are_kept() -> None:
    options = make_options({"max_model_len": 512, "dtype": "float16", "normalize": False}, "transformers")
    assert (options.max_model_len, options.dtype, options.normalize) == (512, "float16", False)


def test_options_can_not_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().dtype = "float16"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("max_model_length", "max_model_len"),
        ("tensor_parallel", "tensor_parallel_size"),
        ("pooling", "pooling_type"),
        ("gpu_memory_utilisation", "gpu_memory_utilization"),
        ("normalise", "normalize"),
        ("dtpye", "dtype"),
    ],
)
def test_a_misspelled_option_gets_a_suggestion(name: str, meant: str) -> None:
    wrong: dict[str, Any] = {name: 1}
    with pytest.raises(OptionError, match=f"'{name}'; did you mean '{meant}'"):
        JinaEmbeddings(engine="fake", **wrong)


def test_an_unknown_option_is_answered_with_the_list() -> None:
    with pytest.raises(OptionError, match="'zzzz': choose one of 'pooling_type'"):
        make_options({"zzzz": 1}, "fake")


@pytest.mark.parametrize("name", WHOLE_NUMBERS)
@pytest.mark.parametrize("value", [0, -1, 1.5, 512.0, "512", True])
def test_counts_are_whole_numbers_above_zero(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=name):
        make_options({name: value}, "fake")


@pytest.mark.parametrize("name", WHOLE_NUMBERS)
def test_counts_may_be_one(name: str) -> None:
    assert getattr(make_options({name: 1}, "fake"), name) == 1


@pytest.mark.parametrize("value", [0, -0.5, 1.01, 90, float("nan"), "0.9", "half", [0.5]])
def test_a_share_of_memory_is_above_zero_and_at_most_one(value: object) -> None:
    with pytest.raises(OptionError, match="gpu_memory_utilization"):
        make_options({"gpu_memory_utilization": value}, "vllm")


@pytest.mark.parametrize("value", [0.01, 0.9, 1, 1.0])
def test_valid_shares_of_memory_are_accepted(value: float) -> None:
    assert make_options({"gpu_memory_utilization": value}, "vllm").gpu_memory_utilization == value


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_accepted(dtype: str) -> None:
    assert make_options({"dtype": dtype}, "vllm").dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "meant"), [("bfloat", "bfloat16"), ("float", "float"), ("fp16", None), (None, None), (16, None)]
)
def test_an_unknown_dtype_gets_a_suggestion(dtype: object, meant: str | None) -> None:
    with pytest.raises(OptionError, match=f"did you mean '{meant}" if meant else "choose one of 'auto'|did you mean"):
        make_options({"dtype": dtype}, "vllm")


def test_bounds_of_pixels_that_exclude_each_other_are_refused_with_both() -> None:
    with pytest.raises(OptionError, match=r"5000.*4000"):
        make_options({"min_pixels": 5000, "max_pixels": 4000}, "fake")
    assert make_options({"min_pixels": 4000, "max_pixels": 4000}, "fake").min_pixels == 4000


@pytest.mark.parametrize("name", ["normalize", "enforce_eager"])
@pytest.mark.parametrize("value", ["no", "false", None])
def test_switches_are_true_or_false(name: str, value: object) -> None:
    """As a truth value, `"no"` would switch the option on."""
    with pytest.raises(OptionError, match=name):
        make_options({name: value}, "vllm")


@pytest.mark.parametrize(("name", "value"), [("trust_remote_code", True), ("swap_space", 4)])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_obsolete_option_is_accepted_with_a_warning_that_says_why(
    caplog: pytest.LogCaptureFixture, name: str, value: object, engine: str
) -> None:
    with caplog.at_level(logging.WARNING, "jina_embeddings"):
        make_options({name: value}, engine)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{name}={value}")
    assert "does nothing" in record.getMessage()


@pytest.mark.parametrize(("name", "value"), [("trust_remote_code", False), ("swap_space", None)])
def test_an_obsolete_option_that_is_off_gives_no_warning(
    caplog: pytest.LogCaptureFixture, name: str, value: object
) -> None:
    with caplog.at_level(logging.WARNING, "jina_embeddings"):
        make_options({name: value}, "vllm")
    assert caplog.records == []


@pytest.mark.parametrize("engine", ENGINES)
def test_an_option_without_effect_on_the_engine_is_accepted_and_logged(
    caplog: pytest.LogCaptureFixture, engine: str
) -> None:
    unused = {"vllm": ONLY_PADDED, "fake": ONLY_PADDED | ONLY_VLLM}.get(engine, ONLY_VLLM)
    with caplog.at_level(logging.INFO, "jina_embeddings"):
        make_options(dataclasses.asdict(Options()), engine)
    assert {record.getMessage().split()[0] for record in caplog.records} == unused
    assert all(engine in record.getMessage() for record in caplog.records)


def test_options_listed_for_one_engine_exist() -> None:
    assert ONLY_PADDED | ONLY_VLLM <= NAMES
    assert not ONLY_PADDED & ONLY_VLLM


def test_every_option_is_documented() -> None:
    documented = {
        name.strip()
        for line in (Options.__doc__ or "").splitlines()
        if ":" in line
        for name in line.partition(":")[0].split(",")
    }
    assert documented >= NAMES


@pytest.mark.parametrize("name", [*WHOLE_NUMBERS, "graph_tokens"])
@pytest.mark.parametrize("kind", [np.int64, np.int16, np.uint8])
def test_numpys_whole_numbers_are_whole_numbers(name: str, kind: type[np.integer[Any]]) -> None:
    value = getattr(make_options({name: kind(100)}, "vllm"), name)
    assert (type(value), value) == (int, 100)
    with pytest.raises(OptionError, match=name):
        make_options({name: np.float64(100)}, "vllm")
    with pytest.raises(OptionError, match=name):
        make_options({name: np.True_}, "vllm")


def test_bounds_of_pixels_may_be_numpys() -> None:
    picture = np.full((100, 200, 3), 200, dtype=np.uint8)
    with (
        JinaEmbeddings(engine="fake", max_pixels=4000) as plain,
        JinaEmbeddings(engine="fake", max_pixels=np.int16(4000)) as other,
    ):
        assert np.array_equal(plain.encode_image(picture), other.encode_image(picture))
        bound: Any = np.int16(1600)
        bounded = other.encode_image(picture, max_pixels=bound)
        assert np.array_equal(plain.encode_image(picture, max_pixels=1600), bounded)
