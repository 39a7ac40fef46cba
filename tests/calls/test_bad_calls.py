"""Bad inputs and wrong arguments of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings, Partial
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import (
    DimensionError,
    EmptyInputError,
    ImageError,
    InputError,
    NonFiniteError,
    OptionError,
    TextTooLongError,
    UnknownPromptError,
    UnknownTaskError,
)
from jina_embeddings.inputs.processor import Processor
from sample_calls import DIM, IMAGES, METHODS, TEXTS

if TYPE_CHECKING:
    from jina_embeddings.types import FloatArray, Prepared


# Bad inputs


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("method", ["encode_text", "encode_image", "encode"])
def test_no_inputs_at_all_are_an_error(fake_model: JinaEmbeddings, method: str, on_error: str) -> None:
    with pytest.raises(EmptyInputError):
        getattr(fake_model, method)([], on_error=on_error)


@pytest.mark.parametrize("late_chunking", [False, True])
def test_no_texts_at_all_are_an_error(fake_model: JinaEmbeddings, late_chunking: bool) -> None:
    with pytest.raises(EmptyInputError):
        fake_model.encode_text([], late_chunking=late_chunking)


def test_the_first_bad_input_is_raised_and_nothing_runs(tmp_path: Path) -> None:
    engine = FakeEngine()
    model = JinaEmbeddings(engine=engine)
    with pytest.raises(EmptyInputError, match="input 2: "):
        model.encode_text(["a", "b", "", None])  # type: ignore[list-item]
    with pytest.raises(ImageError, match=r"input 1: .*missing\.png"):
        model.encode_image([IMAGES[0], tmp_path / "missing.png"])
    with pytest.raises(ImageError, match=r"input 3: .*missing\.png"):
        model.encode(["a", IMAGES[0], "b", tmp_path / "missing.png", ""])
    assert engine.num_inputs == 0


def test_skipped_inputs_keep_their_place_among_kinds(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    inputs: list[Any] = ["", "a", tmp_path / "missing.png", IMAGES[0], 3, "b", ""]
    result = fake_model.encode(inputs, on_error="skip")
    assert isinstance(result, Partial)
    assert result.kept == [1, 3, 5]
    assert [(skipped.index, type(skipped.error)) for skipped in result.skipped] == [
        (0, EmptyInputError),
        (2, ImageError),
        (4, InputError),
        (6, EmptyInputError),
    ]
    assert np.array_equal(result.embeddings, fake_model.encode(["a", IMAGES[0], "b"]))


def test_a_single_bad_input_can_be_skipped_as_well(fake_model: JinaEmbeddings) -> None:
    result = fake_model.encode_text("", on_error="skip")
    assert (result.kept, len(result.skipped)) == ([], 1)
    assert result.embeddings.shape == (0, DIM)
    assert fake_model.encode_text("a", on_error="skip").embeddings.shape == (1, DIM)
    assert len(fake_model.encode_text(["", ""], on_error="skip", return_multivector=True).embeddings) == 0


PROCESSOR = Processor.from_checkpoint(open_checkpoint("fake", engine="fake"), max_length=100)


class NotANumber(FakeEngine):
    """An engine that returns NaN, or another number, for texts with the word `poison`."""

    def __init__(self, number: float = np.nan):
        super().__init__()
        self.number = number

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        outputs = super().run(batch, batch_size=batch_size)
        poison = PROCESSOR.tokenize(["poison"])[0][0]
        for prepared, output in zip(batch, outputs, strict=True):
            if poison in prepared.token_ids:
                output[-1, 5] = self.number
        return outputs


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("multivector", [False, True])
def test_nan_is_never_returned_as_a_vector(multivector: bool, number: float) -> None:
    model = JinaEmbeddings(engine=NotANumber(number))
    texts = ["good", "poison", "better", "poison", ""]
    with pytest.raises(NonFiniteError, match="input 1: "):
        model.encode_text(texts[:4], return_multivector=multivector)
    with pytest.raises(NonFiniteError):
        asyncio.run(model.aencode_text("poison", return_multivector=multivector))
    with pytest.raises(NonFiniteError):
        model.encode_text(["good", "poison"], late_chunking=True)
    result = model.encode_text(texts, return_multivector=multivector, on_error="skip")
    assert result.kept == [0, 2]
    assert [(skipped.index, type(skipped.error)) for skipped in result.skipped] == [
        (1, NonFiniteError),
        (3, NonFiniteError),
        (4, EmptyInputError),
    ]
    assert all(np.isfinite(vector).all() for vector in result.embeddings)


# Wrong arguments


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"task": "retreival"}, UnknownTaskError, "did you mean 'retrieval'"),
        ({"prompt_name": "pasage"}, UnknownPromptError, "did you mean 'passage'"),
        ({"task": "retrieval.query", "prompt_name": "passage"}, UnknownPromptError, "passage"),
        ({"embedding_type": "int4"}, OptionError, "did you mean 'int8'"),
        ({"on_error": "ignore"}, OptionError, "'ignore'"),
        ({"batch_size": 0}, OptionError, "batch_size"),
        ({"batch_size": -1}, OptionError, "batch_size"),
        ({"batch_size": 2.0}, OptionError, "batch_size"),
        ({"batch_size": "8"}, OptionError, "batch_size"),
        ({"batch_size": True}, OptionError, "batch_size"),
        ({"max_length": 0}, InputError, "max_length"),
        ({"return_multivector": True, "truncate_dim": 128}, DimensionError, "truncate_dim"),
    ],
    ids=str,
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_wrong_argument_is_an_error_and_never_skipped(
    options: dict[str, Any], kind: type[Exception], message: str, on_error: str
) -> None:
    engine = FakeEngine()
    model = JinaEmbeddings(engine=engine)
    options = {"on_error": on_error, **options}
    for method in ("encode_text", "encode"):
        with pytest.raises(kind, match=message):
            getattr(model, method)(TEXTS, **options)
        with pytest.raises(kind, match=message):
            asyncio.run(getattr(model, f"a{method}")(TEXTS, **options))
    assert engine.num_inputs == 0


@pytest.mark.parametrize("truncate_dim", [0, -128, 100, 4096, "128", 128.0, True, [128]], ids=repr)
def test_a_dimension_that_the_model_was_not_trained_for_is_refused_with_the_list(truncate_dim: Any) -> None:
    engine = FakeEngine()
    model = JinaEmbeddings(engine=engine)
    for method, inputs in METHODS.values():
        with pytest.raises(DimensionError, match="128, 256, 512, 1024, 2048"):
            getattr(model, method)(inputs, truncate_dim=truncate_dim)
    assert engine.num_inputs == 0


@pytest.mark.parametrize("method", ["encode_text", "encode_image", "encode"])
def test_an_argument_that_does_not_exist_is_a_type_error_that_names_it(fake_model: JinaEmbeddings, method: str) -> None:
    with pytest.raises(TypeError, match="normalise"):
        getattr(fake_model, method)(["a"], normalise=True)
    with pytest.raises(TypeError, match="normalise"):
        asyncio.run(getattr(fake_model, f"a{method}")(["a"], normalise=True))


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        ("one text", {}),
        (TEXTS, {"return_multivector": True}),
        (TEXTS, {"on_error": "skip"}),
    ],
)
def test_late_chunking_refuses_what_it_can_not_do(
    fake_model: JinaEmbeddings, texts: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="late_chunking"):
        fake_model.encode_text(texts, late_chunking=True, **options)


def test_late_chunking_names_what_is_wrong(fake_model: JinaEmbeddings) -> None:
    with pytest.raises(EmptyInputError, match="chunk 1"):
        fake_model.encode_text(["a", ""], late_chunking=True)
    with pytest.raises(TextTooLongError, match="3 chunks"):
        fake_model.encode_text(TEXTS, late_chunking=True, max_length=5)


@pytest.mark.parametrize(("name", "meant"), [("promt_name", "prompt_name"), ("maxlength", "max_length")])
def test_a_misspelled_argument_gets_a_suggestion(fake_model: JinaEmbeddings, name: str, meant: str) -> None:
    wrong: dict[str, Any] = {name: "query"}
    with pytest.raises(OptionError, match=f"unknown argument '{name}'; did you mean '{meant}'"):
        fake_model.encode(["a"], **wrong)
    with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
        asyncio.run(fake_model.aencode_text(["a"], **wrong))


def test_an_array_without_a_dimension_is_no_list_of_texts(fake_model: JinaEmbeddings) -> None:
    with pytest.raises(InputError, match="texts must be a list of str: iteration over a 0-d array"):
        fake_model.encode_text(np.array("a"))  # type: ignore[call-overload]
