"""The forms of results: arrays, lists and strings, by method, type, dimension and kind of vector."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import OptionError
from jina_embeddings.vectors.quantization import EMBEDDING_TYPES
from sample_calls import DIM, METHODS, TEXTS, TOKEN_DIM


@pytest.mark.parametrize(("method", "inputs"), METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("embedding_type", EMBEDDING_TYPES)
@pytest.mark.parametrize("truncate_dim", [None, 128, DIM])
@pytest.mark.parametrize("return_numpy", [True, False])
def test_forms_of_dense_results(
    fake_model: JinaEmbeddings,
    method: str,
    inputs: list[Any],
    embedding_type: str,
    truncate_dim: int | None,
    return_numpy: bool,
) -> None:
    options = {"embedding_type": embedding_type, "truncate_dim": truncate_dim, "return_numpy": return_numpy}
    encode = getattr(fake_model, method)
    if embedding_type == "base64" and not return_numpy:
        with pytest.raises(OptionError, match="base64"):
            encode(inputs, **options)
        return
    several, in_a_tuple, alone = (
        encode(inputs, **options),
        encode(tuple(inputs), **options),
        encode(inputs[0], **options),
    )
    skipping = encode(inputs, on_error="skip", **options)
    if embedding_type == "base64":
        assert isinstance(alone, str)
        assert several == in_a_tuple == skipping.embeddings
        assert several[0] == alone
        return
    dim = (truncate_dim or DIM) // (8 if "binary" in embedding_type else 1)
    dtype = {"float": "float32", "ubinary": "uint8"}.get(embedding_type, "int8")
    for result in (several, in_a_tuple, skipping.embeddings):
        assert isinstance(result, np.ndarray if return_numpy else list)
        assert len(result) == len(inputs)
        for row in result:
            assert (tuple(row.shape), str(row.dtype).removeprefix("torch.")) == ((dim,), dtype)
    assert isinstance(alone, np.ndarray if return_numpy else torch.Tensor)
    assert np.array_equal(np.asarray(alone), np.asarray(several[0]))


@pytest.mark.parametrize(("method", "inputs"), METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("embedding_type", ["float", "int8", "binary", "ubinary"])
@pytest.mark.parametrize("return_numpy", [True, False])
def test_forms_of_multivector_results(
    fake_model: JinaEmbeddings, method: str, inputs: list[Any], embedding_type: str, return_numpy: bool
) -> None:
    options = {"return_multivector": True, "embedding_type": embedding_type, "return_numpy": return_numpy}
    encode = getattr(fake_model, method)
    several, alone = encode(inputs, **options), encode(inputs[0], **options)
    kind = np.ndarray if return_numpy else torch.Tensor
    width = TOKEN_DIM // (8 if "binary" in embedding_type else 1)
    assert isinstance(several, list)
    assert len(several) == len(inputs)
    for rows in (*several, alone, *encode(inputs, on_error="skip", **options).embeddings):
        assert isinstance(rows, kind)
        assert rows.ndim == 2
        assert rows.shape[1] == width
    assert np.array_equal(np.asarray(alone), np.asarray(several[0]))


def test_a_multivector_has_a_row_for_every_token(fake_model: JinaEmbeddings) -> None:
    rows = fake_model.encode_text("three words here", return_multivector=True)
    assert rows.shape == (1 + 3, TOKEN_DIM)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_dense_vectors_have_length_one_unless_asked_otherwise(fake_model: JinaEmbeddings) -> None:
    for dim in (None, 128):
        vectors = fake_model.encode(METHODS["mixed"][1], truncate_dim=dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    with JinaEmbeddings(engine="fake", normalize=False) as model:
        raw = model.encode_text(TEXTS)
    assert (np.abs(np.linalg.norm(raw, axis=1) - 1) > 0.1).all()
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1)[:, None], fake_model.encode_text(TEXTS), atol=1e-6)


def test_late_chunking_gives_a_vector_for_each_chunk(fake_model: JinaEmbeddings) -> None:
    vectors = fake_model.encode_text(TEXTS, late_chunking=True, truncate_dim=256)
    assert vectors.shape == (3, 256)
    assert fake_model.encode_text(TEXTS[:1], late_chunking=True).shape == (1, DIM)
    assert len(fake_model.encode_text(TEXTS, late_chunking=True, embedding_type="base64")) == 3


@pytest.mark.parametrize(
    "make", [tuple, iter, lambda texts: (text for text in texts), np.array], ids=["tuple", "iter", "generator", "array"]
)
def test_texts_may_come_in_any_iterable(fake_model: JinaEmbeddings, make: Callable[[list[str]], Any]) -> None:
    expected = fake_model.encode_text(TEXTS)
    assert np.array_equal(fake_model.encode_text(make(TEXTS)), expected)
    assert fake_model.encode_text(make(TEXTS[:1])).shape == (1, DIM)
    assert np.array_equal(
        fake_model.encode_text(make(TEXTS), late_chunking=True), fake_model.encode_text(TEXTS, late_chunking=True)
    )


def test_positional_arguments_are_those_of_the_published_model() -> None:
    def positional(function: Callable[..., Any]) -> list[str]:
        parameters = inspect.signature(function).parameters.values()
        return [parameter.name for parameter in parameters if parameter.kind == parameter.POSITIONAL_OR_KEYWORD][1:]

    assert positional(JinaEmbeddings.encode_text) == [
        "texts",
        "task",
        "max_length",
        "batch_size",
        "return_multivector",
        "return_numpy",
        "truncate_dim",
        "prompt_name",
    ]
    assert positional(JinaEmbeddings.encode_image) == [
        "images",
        "task",
        "batch_size",
        "return_multivector",
        "return_numpy",
        "truncate_dim",
        "max_pixels",
    ]
