"""Cosine and MaxSim against loops over float64."""

from __future__ import annotations

import doctest
import re
from typing import Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import DimensionError, InputError
from jina_embeddings.vectors import similarity
from jina_embeddings.vectors.quantization import quantize
from jina_embeddings.vectors.similarity import (
    hamming,
    maxsim,
    normalize,
    normalize_if_finite,
    normalize_parts,
    truncate,
)


def rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def unit(*shape: int) -> np.ndarray:
    values = rows(*shape)
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


def test_the_examples_in_the_docstrings_are_true() -> None:
    results = doctest.testmod(similarity)
    assert results.attempted > 0
    assert results.failed == 0


def test_similarity_is_the_cosine_of_every_pair() -> None:
    a, b = rows(3, 7), rows(5, 7) * 100
    expected = [
        [float(x @ y) / float(np.linalg.norm(x) * np.linalg.norm(y)) for y in b.astype(np.float64)]
        for x in a.astype(np.float64)
    ]
    scores = similarity.similarity(a, b)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "shape"),
    [((3, 7), (5, 7), (3, 5)), ((7,), (5, 7), (5,)), ((3, 7), (7,), (3,)), ((7,), (7,), ()), ((0, 7), (5, 7), (0, 5))],
)
def test_a_single_vector_drops_its_axis(a: tuple[int, ...], b: tuple[int, ...], shape: tuple[int, ...]) -> None:
    scores = similarity.similarity(rows(*a), rows(*b))
    assert isinstance(scores, np.ndarray)
    assert scores.shape == shape


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float64])
def test_other_types_are_compared_in_float32(dtype: Any) -> None:
    a = (unit(4, 16) * 100).astype(dtype)
    scores = similarity.similarity(a, a)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-6)


def test_vectors_of_different_sizes_are_refused_with_both_numbers() -> None:
    with pytest.raises(DimensionError, match=r"128.*256"):
        similarity.similarity(rows(2, 128), rows(2, 256))


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e-10, 1.0, 1e10, 1e25])
def test_normalised_vectors_have_length_one_at_every_scale(scale: float) -> None:
    vectors = unit(3, 64)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(normalize(vectors * np.float32(scale)), vectors, rtol=1e-4)


def test_a_zero_vector_stays_zero() -> None:
    with np.errstate(all="raise"):
        assert normalize(np.array([[0, 0], [3, 4]])).tolist() == [[0, 0], pytest.approx([0.6, 0.8])]
        nothing: Any = np.zeros(3)
        assert similarity.similarity(nothing, nothing + 1) == 0


def test_normalising_leaves_the_input_as_it_is() -> None:
    vectors = rows(2, 5)
    before = vectors.copy()
    normalize(vectors)
    assert np.array_equal(vectors, before)


def test_truncation_takes_the_first_numbers_of_each_vector() -> None:
    vectors = rows(2, 3, 8)
    assert np.array_equal(truncate(vectors, 5), vectors[:, :, :5])
    assert truncate(vectors, None) is vectors


def naive_maxsim(query: np.ndarray, document: np.ndarray) -> float:
    return sum(max(float(np.dot(q, d)) for d in document.astype(float)) for q in query.astype(float))


@pytest.mark.parametrize("lengths", [[1], [5], [1, 1, 1], [3, 9, 1, 4], [2] * 40])
def test_maxsim_is_the_sum_over_query_tokens_of_the_best_document_token(lengths: list[int]) -> None:
    query = unit(4, 16)
    documents = [unit(length, 16) + index for index, length in enumerate(lengths)]
    scores = maxsim(query, documents)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [naive_maxsim(query, document) for document in documents], rtol=1e-5)


def test_maxsim_of_no_documents_and_of_one() -> None:
    query, document = unit(4, 16), unit(6, 16)
    assert maxsim(query, []).shape == (0,)
    alone = maxsim(query, document)
    assert alone.shape == ()
    np.testing.assert_allclose(alone, naive_maxsim(query, document), rtol=1e-5)
    assert maxsim(query, (document, document)).shape == (2,)
    assert maxsim(query, np.stack([document, document])).shape == (2,)


def test_negative_scores_are_not_clamped_to_zero() -> None:
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    assert maxsim(query, [-query, np.concatenate([-query, -query])]).tolist() == [-1, -1]


def test_maxsim_of_integers_does_not_overflow() -> None:
    query: Any = np.full((2, 64), 100, dtype=np.int8)
    assert maxsim(query, [query]).tolist() == [2 * 64 * 100 * 100]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([unit(3, 16), unit(3, 8)], r"8.*16"),
        ([unit(3, 8)], r"8.*16"),
        ([unit(3, 16), unit(3, 16)[:0]], "document 1"),
        (unit(3, 16)[:0], "document 0"),
    ],
)
def test_documents_that_can_not_be_scored_are_named(documents: list[np.ndarray], message: str) -> None:
    with pytest.raises(DimensionError, match=message):
        maxsim(unit(4, 16), documents)


def test_similarity_and_maxsim_are_methods_of_the_class() -> None:
    a, b = unit(3, 16), unit(5, 16)
    assert np.array_equal(JinaEmbeddings.similarity(a, b), similarity.similarity(a, b))
    assert np.array_equal(JinaEmbeddings.maxsim(a, [b, a]), maxsim(a, [b, a]))


@pytest.mark.parametrize("shape", [(), (2, 3, 4)])
def test_arrays_that_are_no_vectors_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    vectors, other = np.zeros((2, 4), dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for a, b in ((other, vectors), (vectors, other)):
        with pytest.raises(DimensionError, match=re.escape(str(shape))):
            similarity.similarity(a, b)


def test_no_cosine_is_above_one() -> None:
    vectors = np.random.default_rng(0).standard_normal((400, 384)).astype(np.float32)
    scores = similarity.similarity(vectors, vectors)
    assert scores.max() == 1
    assert similarity.similarity(vectors, -vectors).min() == -1


@pytest.mark.parametrize("kind", ["binary", "ubinary"])
def test_packed_bits_are_compared_by_the_bits_that_differ(kind: str) -> None:
    vectors = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    bits = vectors > 0
    expected = (bits[:, None] != bits[None]).sum(axis=2)
    packed = quantize(vectors, kind)
    assert np.array_equal(hamming(packed, packed), expected)
    assert np.array_equal(hamming(packed[0], packed), expected[0])
    assert hamming(packed[0], packed[1]).shape == ()
    assert hamming(packed[:0], packed).shape == (0, 5)
    assert np.array_equal(JinaEmbeddings.hamming(packed, packed), expected)


def test_what_has_no_bits_or_no_cosine_is_refused() -> None:
    vectors = np.eye(16, dtype=np.float32)
    packed = quantize(vectors, "ubinary")
    with pytest.raises(InputError, match="hamming"):
        similarity.similarity(packed, packed)
    with pytest.raises(InputError, match="float32"):
        hamming(vectors, vectors)
    with pytest.raises(InputError, match="int8, uint8"):
        hamming(quantize(vectors, "binary"), packed)
    with pytest.raises(DimensionError):
        hamming(packed, packed[:, :1])


@pytest.mark.parametrize(
    ("query", "documents"),
    [
        (np.ones(4), [np.ones((2, 4))]),
        (np.ones((1, 2, 4)), [np.ones((2, 4))]),
        (np.ones((2, 4)), [np.ones(4)]),
        (np.ones((2, 4)), np.ones(4)),
        (np.ones((2, 4)), [np.ones((2, 4)), np.ones((1, 2, 4))]),
    ],
)
def test_what_is_no_multivector_is_refused(query: Any, documents: Any) -> None:
    with pytest.raises(DimensionError, match="multi-vector"):
        maxsim(query, documents)


def test_documents_of_one_length_may_be_one_array() -> None:
    query, documents = rows(3, 3), rows(4, 5, 3)
    assert np.allclose(maxsim(query, documents), maxsim(query, list(documents)))


@pytest.mark.parametrize("lengths", [[1], [1] * 70, [3, 1, 40, 2], [0, 5, 0]])
def test_parts_are_normalised_as_if_they_were_joined(lengths: list[int]) -> None:
    parts = [np.random.default_rng(index).standard_normal((n, 16), dtype=np.float32) for index, n in enumerate(lengths)]
    assert np.array_equal(normalize_parts(parts), normalize(np.concatenate(parts)))


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1.0, 1e30, 0.0])
def test_finite_vectors_have_the_same_bits_alone_and_among_others(count: int, scale: float) -> None:
    vectors = np.random.default_rng(count).standard_normal((count, 64), dtype=np.float32) * np.float32(scale)
    found = normalize_if_finite(list(vectors[:, None]))
    assert found is not None
    assert np.array_equal(found, normalize(vectors))
    for row, expected in zip(vectors, found, strict=True):
        alone = normalize_if_finite([row[None]])
        assert alone is not None
        assert np.array_equal(alone[0], expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 3])
def test_vectors_with_a_number_that_is_not_finite_are_not_normalised(bad: float, count: int) -> None:
    vectors = np.ones((count, 8), np.float32)
    vectors[-1, 2] = bad
    assert normalize_if_finite([vectors]) is None
    assert normalize_if_finite(list(vectors[:, None])) is None
