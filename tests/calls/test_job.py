"""Jobs: equal inputs run once, results are in the inputs' order, bad inputs are raised or skipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from jina_embeddings.calls.job import Job, Output
from jina_embeddings.errors import (
    EmptyInputError,
    EngineDeadError,
    ImageError,
    InputError,
    NonFiniteError,
    OptionError,
    TextTooLongError,
)
from jina_embeddings.types import Partial, Prepared, PreparedImage, Span
from jina_embeddings.vectors.quantization import EMBEDDING_TYPES, from_base64, quantize
from jina_embeddings.vectors.similarity import normalize

DIM = 16


def prepared(
    *ids: int, task: str = "code", spans: tuple[Span, ...] | None = None, digest: str | None = None
) -> Prepared:
    image = None
    if digest is not None:
        image = PreparedImage(np.zeros((28, 28, 3), np.uint8), (1, 2, 2), 0, 1, digest)
    whole = spans or ((0, len(ids)),)
    return Prepared(np.array(ids, np.int32), task, whole, image=image)  # type: ignore[arg-type]


def outputs_for(job: Job) -> list[np.ndarray]:
    """Fake engine outputs, which contain the first token of each input."""
    results = []
    for item in job.batch:
        num_rows = item.num_tokens if job.output.multivector else len(item.spans)
        seed = [int(item.token_ids[0]), item.num_tokens]
        results.append(np.random.default_rng(seed).standard_normal((num_rows, DIM), dtype=np.float32) * 5)
    return results


def run(items: Sequence[Prepared | InputError], **options: Any) -> Any:
    job = Job(items, Output(**options), "mean")
    return job.finish(outputs_for(job))


# What runs


def test_equal_inputs_run_once_and_are_returned_in_place() -> None:
    items = [prepared(1, 2), prepared(3), prepared(1, 2), prepared(3), prepared(3), prepared(1)]
    job = Job(items, Output(), "mean")
    assert [item.token_ids.tolist() for item in job.batch] == [[1, 2], [3], [1]]
    vectors = job.finish(outputs_for(job))
    assert vectors.shape == (6, DIM)
    for i, first in enumerate([0, 1, 0, 1, 1, 5]):
        assert np.array_equal(vectors[i], vectors[first])
    assert len(np.unique(vectors, axis=0)) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (prepared(1, 2), prepared(1, 2, task="retrieval")),
        (prepared(1, 2), prepared(2, 1)),
        (prepared(1, 2), prepared(1, 2, spans=((0, 1),))),
        (prepared(1, 2), prepared(1, 2, digest="a")),
        (prepared(1, 2, digest="a"), prepared(1, 2, digest="b")),
        (prepared(1, 256), prepared(1)),
    ],
    ids=["task", "order", "span", "text and image", "image", "length"],
)
def test_inputs_that_differ_in_one_thing_both_run(one: Prepared, other: Prepared) -> None:
    assert len(Job([one, other], Output(), "mean").batch) == 2


@pytest.mark.parametrize("multivector", [False, True])
def test_the_batch_has_the_calls_multivector_and_pooling(multivector: bool) -> None:
    (item,) = Job([prepared(1)], Output(multivector=multivector), "max").batch
    assert (item.multivector, item.pooling) == (multivector, "max")


def test_a_call_without_inputs_is_an_error() -> None:
    for on_error in ("raise", "skip"):
        with pytest.raises(EmptyInputError, match="at least one"):
            Job([], Output(on_error=on_error), "mean")


# Bad inputs


@pytest.mark.parametrize("error", [EmptyInputError("why"), ImageError("why"), TextTooLongError("why")], ids=repr)
def test_the_first_bad_input_is_raised_with_its_index(error: InputError) -> None:
    items: list[Prepared | InputError] = [prepared(1), prepared(2), error, EmptyInputError("another")]
    with pytest.raises(type(error), match="input 2: why") as raised:
        Job(items, Output(), "mean")
    assert raised.value.__cause__ is error


def test_the_error_of_a_single_input_has_no_index() -> None:
    error = EmptyInputError("why")
    with pytest.raises(EmptyInputError) as raised:
        Job([error], Output(single=True), "mean")
    assert raised.value is error


def test_skipped_and_kept_inputs_are_listed() -> None:
    errors = [EmptyInputError("first"), ImageError("second")]
    result = run([errors[0], prepared(1), prepared(2), errors[1], prepared(1)], on_error="skip")
    assert isinstance(result, Partial)
    assert result.kept == [1, 2, 4]
    assert [(skipped.index, skipped.error) for skipped in result.skipped] == [(0, errors[0]), (3, errors[1])]
    assert np.array_equal(result.embeddings, run([prepared(1), prepared(2), prepared(1)]))


def test_what_a_dead_engine_did_and_did_not_do_is_named_by_the_calls_indices() -> None:
    items: list[Prepared | InputError] = [EmptyInputError("first"), *map(prepared, (1, 2, 1, 3))]
    job = Job(items, Output(on_error="skip"), "mean")
    done: list[Any] = [None, *outputs_for(job)[1:]]
    error = job.rescue(EngineDeadError("killed", [0], done))
    assert error.not_done == [1, 3]
    assert error.done.kept == [2, 4]
    assert [skipped.index for skipped in error.done.skipped] == [0]
    assert np.array_equal(error.done.embeddings, run([prepared(2), prepared(3)]))


def test_of_a_call_that_a_dead_engine_never_began_nothing_is_done() -> None:
    error = Job([prepared(1), prepared(1)], Output(), "mean").rescue(EngineDeadError("killed"))
    assert (error.not_done, error.done.kept) == ([0, 1], [])


@pytest.mark.parametrize("multivector", [False, True])
def test_skipping_returns_a_partial_also_without_bad_inputs(multivector: bool) -> None:
    result = run([prepared(1, 2)], on_error="skip", single=True, multivector=multivector)
    assert isinstance(result, Partial)
    assert (len(result.embeddings), result.kept, result.skipped) == (1, [0], [])


@pytest.mark.parametrize("embedding_type", ["float", "int8", "binary", "ubinary"])
@pytest.mark.parametrize("truncate_dim", [None, 8])
def test_if_all_inputs_are_skipped_the_array_has_no_rows(embedding_type: str, truncate_dim: int | None) -> None:
    """The form of a result depends on the call, not on the inputs."""
    options: dict[str, Any] = {"on_error": "skip", "embedding_type": embedding_type, "truncate_dim": truncate_dim}
    some = run([prepared(1)], **options).embeddings
    result = run([EmptyInputError("why")], **options)
    assert (result.kept, [skipped.index for skipped in result.skipped]) == ([], [0])
    assert isinstance(result.embeddings, np.ndarray)
    assert result.embeddings.dtype == some.dtype
    assert len(result.embeddings) == 0
    assert result.embeddings.ndim == some.ndim


@pytest.mark.parametrize("options", [{"multivector": True}, {"embedding_type": "base64"}, {"return_numpy": False}])
def test_if_all_inputs_are_skipped_the_list_of_multivectors_is_empty(options: dict[str, Any]) -> None:
    assert run([EmptyInputError("why")], on_error="skip", **options).embeddings == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("multivector", [False, True])
def test_nan_and_infinity_are_errors_and_never_vectors(bad: float, multivector: bool) -> None:
    empty = EmptyInputError("why")
    items: list[Prepared | InputError] = [prepared(1, 2), prepared(3, 4), empty, prepared(5, 6), prepared(3, 4)]
    good = [item for item in items if not isinstance(item, InputError)]

    job = Job(good, Output(multivector=multivector), "mean")
    outputs = outputs_for(job)
    outputs[1][-1, 3] = bad
    with pytest.raises(NonFiniteError, match=r"input 1: .*float16"):
        job.finish(outputs)

    job = Job(items, Output(multivector=multivector, on_error="skip"), "mean")
    result = job.finish(outputs)
    assert result.kept == [0, 3]
    assert [(skipped.index, type(skipped.error)) for skipped in result.skipped] == [
        (1, NonFiniteError),
        (2, EmptyInputError),
        (4, NonFiniteError),
    ]
    for found, expected in zip(result.embeddings, (outputs[0], outputs[2]), strict=True):
        np.testing.assert_allclose(found, expected if multivector else normalize(expected[0]), rtol=1e-6)


# Results


def test_vectors_are_truncated_and_then_normalised() -> None:
    job = Job([prepared(1), prepared(2)], Output(truncate_dim=8), "mean")
    outputs = outputs_for(job)
    vectors = job.finish(outputs)
    assert vectors.shape == (2, 8)
    assert vectors.dtype == np.float32
    for vector, output in zip(vectors, outputs, strict=True):
        head = output[0, :8].astype(float)
        np.testing.assert_allclose(vector, head / np.linalg.norm(head), rtol=1e-5)


def test_without_normalising_vectors_are_the_engines() -> None:
    job = Job([prepared(1), prepared(2)], Output(normalize=False, truncate_dim=8), "mean")
    outputs = outputs_for(job)
    assert np.array_equal(job.finish(outputs), np.concatenate(outputs)[:, :8])


def test_each_span_gives_a_vector() -> None:
    job = Job([prepared(1, 2, 3, spans=((0, 1), (1, 3), (2, 3)))], Output(), "mean")
    assert job.finish(outputs_for(job)).shape == (3, DIM)


@pytest.mark.parametrize("embedding_type", EMBEDDING_TYPES)
def test_vectors_are_quantised_last(embedding_type: str) -> None:
    vectors = run([prepared(1), prepared(2)], truncate_dim=8)
    result = run([prepared(1), prepared(2)], truncate_dim=8, embedding_type=embedding_type)
    assert np.array_equal(result, quantize(vectors, embedding_type))


@pytest.mark.parametrize("embedding_type", EMBEDDING_TYPES)
def test_a_single_input_has_a_result_without_rows(embedding_type: str) -> None:
    several = run([prepared(1)], embedding_type=embedding_type)
    alone = run([prepared(1)], embedding_type=embedding_type, single=True)
    assert np.array_equal(alone, several[0])
    assert isinstance(alone, str if embedding_type == "base64" else np.ndarray)
    tokens = run([prepared(1, 2)], embedding_type=embedding_type, single=True, multivector=True)
    assert len(tokens) == 2


def test_multivectors_are_a_list_of_the_engines_arrays() -> None:
    items = [prepared(1, 2, 3), prepared(4)]
    job = Job(items, Output(multivector=True), "mean")
    outputs = outputs_for(job)
    result = job.finish(outputs)
    assert isinstance(result, list)
    assert [tokens.shape for tokens in result] == [(3, DIM), (1, DIM)]
    assert all(np.array_equal(tokens, output) for tokens, output in zip(result, outputs, strict=True))


@pytest.mark.parametrize("multivector", [False, True])
def test_equal_inputs_do_not_share_memory(multivector: bool) -> None:
    """Changing one result must not change another."""
    first, second = run([prepared(1, 2), prepared(1, 2)], multivector=multivector)
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize(
    ("embedding_type", "dtype"),
    [("float", torch.float32), ("int8", torch.int8), ("binary", torch.int8), ("ubinary", torch.uint8)],
)
@pytest.mark.parametrize("multivector", [False, True])
@pytest.mark.parametrize("single", [False, True])
def test_tensors_equal_the_arrays(embedding_type: str, dtype: torch.dtype, multivector: bool, single: bool) -> None:
    items = [prepared(1, 2)] if single else [prepared(1, 2), prepared(3)]
    options: dict[str, Any] = {"embedding_type": embedding_type, "multivector": multivector, "single": single}
    arrays, tensors = run(items, **options), run(items, return_numpy=False, **options)
    if single:
        arrays, tensors = [arrays], [tensors]
    assert isinstance(tensors, list)
    for array, tensor in zip(arrays, tensors, strict=True):
        assert isinstance(tensor, torch.Tensor)
        assert tensor.dtype == dtype
        assert np.array_equal(tensor.numpy(), array)


def test_base64_holds_the_vector() -> None:
    vectors = run([prepared(1), prepared(2)])
    texts = run([prepared(1), prepared(2)], embedding_type="base64")
    assert [from_base64(text).tolist() for text in texts] == vectors.tolist()


# What was asked for


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "ignore"}, "'raise' or 'skip', not 'ignore'"),
        ({"on_error": None}, "'raise' or 'skip', not None"),
        ({"embedding_type": "int4"}, "'int4'; did you mean 'int8'"),
        ({"embedding_type": "base64", "return_numpy": False}, "base64"),
    ],
)
def test_impossible_output_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Output(**options).check()
    Output().check()
