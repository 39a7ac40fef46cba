"""Quantised vectors: how close they are to the original, and how they are packed."""

from __future__ import annotations

import base64
import doctest

import numpy as np
import pytest

from jina_embeddings.errors import DimensionError, OptionError
from jina_embeddings.vectors import quantization
from jina_embeddings.vectors.quantization import EMBEDDING_TYPES, from_base64, quantize

LEAST_INT8_COSINE = 0.999


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


def test_the_examples_in_the_docstrings_are_true() -> None:
    results = doctest.testmod(quantization)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("dim", [128, 256, 512, 1024, 2048])
def test_int8_keeps_the_direction(dim: int) -> None:
    vectors = unit(200, dim, seed=dim)
    small = quantize(vectors, "int8")
    assert small.dtype == np.int8
    assert small.shape == vectors.shape
    wide = small.astype(np.float64)
    cosines = (wide * vectors).sum(-1) / np.linalg.norm(wide, axis=-1)
    assert cosines.min() >= LEAST_INT8_COSINE


def test_int8_uses_the_whole_range_of_each_vector_by_itself() -> None:
    vectors = unit(50, 64) * np.geomspace(1e-20, 1e20, 50, dtype=np.float32)[:, None]
    small = quantize(vectors, "int8").astype(int)
    assert (np.abs(small).max(axis=-1) == 127).all()
    assert small.min() >= -127, "-128 has no opposite"
    assert np.array_equal(small, quantize(unit(50, 64), "int8"))


@pytest.mark.parametrize("embedding_type", EMBEDDING_TYPES)
def test_a_zero_vector_stays_zero(embedding_type: str) -> None:
    with np.errstate(all="raise"):
        result = quantize(np.zeros(16, dtype=np.float32), embedding_type)
    if embedding_type == "base64":
        result = from_base64(result)
    assert set(np.unique(result)) == {-128 if embedding_type == "binary" else 0}


def test_bits_are_the_signs_of_values_packed_from_the_first() -> None:
    vector = np.array([1, -1, 0.5, 0, -0.0, -2, 3, 1e-20] + [-1] * 8, dtype=np.float32)
    assert quantize(vector, "ubinary").tolist() == [0b10100011, 0]
    assert quantize(vector, "binary").tolist() == [0b10100011 - 128, -128]


def test_binary_is_ubinary_minus_128() -> None:
    vectors = unit(30, 2048)
    binary, ubinary = quantize(vectors, "binary"), quantize(vectors, "ubinary")
    assert (binary.dtype, ubinary.dtype) == (np.int8, np.uint8)
    assert binary.shape == ubinary.shape == (30, 256)
    assert np.array_equal(binary.astype(int), ubinary.astype(int) - 128)
    assert np.array_equal(np.unpackbits(ubinary, axis=-1), vectors > 0)


def test_base64_comes_back_bit_by_bit() -> None:
    vectors = unit(5, 128)
    texts = quantize(vectors, "base64")
    assert isinstance(texts, list)
    for text, vector in zip(texts, vectors, strict=True):
        assert isinstance(text, str)
        assert base64.b64decode(text, validate=True) == vector.astype("<f4").tobytes()
        back = from_base64(text)
        assert back.dtype == np.float32
        assert np.array_equal(back, vector)


@pytest.mark.parametrize("embedding_type", EMBEDDING_TYPES)
def test_a_vector_is_quantised_independently_of_others(embedding_type: str) -> None:
    vectors = unit(3, 64)
    together = quantize(vectors, embedding_type)
    for index in range(3):
        assert np.array_equal(quantize(vectors[index], embedding_type), together[index])


@pytest.mark.parametrize("embedding_type", EMBEDDING_TYPES)
def test_the_input_is_left_as_it_is(embedding_type: str) -> None:
    vectors = unit(3, 64)
    before = vectors.copy()
    quantize(vectors, embedding_type)
    assert np.array_equal(vectors, before)


@pytest.mark.parametrize("embedding_type", EMBEDDING_TYPES)
def test_an_empty_array_stays_empty(embedding_type: str) -> None:
    assert len(quantize(np.zeros((0, 64), dtype=np.float32), embedding_type)) == 0


def test_float_is_the_vector_itself() -> None:
    vectors = unit(3, 10)
    assert np.array_equal(quantize(vectors), vectors)


@pytest.mark.parametrize("embedding_type", ["binary", "ubinary"])
def test_a_dimension_that_is_no_multiple_of_8_is_refused(embedding_type: str) -> None:
    with pytest.raises(DimensionError, match="100"):
        quantize(unit(2, 100), embedding_type)


@pytest.mark.parametrize(("name", "meant"), [("int", "int8"), ("bin", "binary"), ("base46", "base64"), ("f", None)])
def test_an_unknown_type_gets_a_suggestion(name: str, meant: str | None) -> None:
    expected = f"did you mean '{meant}'" if meant else "choose one of 'float'"
    with pytest.raises(OptionError, match=f"'{name}'.*{expected}"):
        quantize(unit(2, 8), name)


@pytest.mark.parametrize("name", [None, 8, ["int8"]])
def test_a_type_that_is_no_str_is_an_option_error(name: object) -> None:
    with pytest.raises(OptionError, match="embedding_type"):
        quantize(unit(2, 8), name)  # type: ignore[arg-type]


@pytest.mark.parametrize("dim", [1, 2, 3, 16])
def test_base64_is_read_without_its_padding(dim: int) -> None:
    vector = np.arange(dim, dtype=np.float32)
    text = quantize(vector, "base64")
    assert np.array_equal(from_base64(text), vector)
    assert np.array_equal(from_base64(text.rstrip("=")), vector)
