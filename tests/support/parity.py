"""Checks against the reference that are run on every engine."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from inputs import COSINE, COSINE_ALONE, TEXTS, pictures
from reference import Reference

if TYPE_CHECKING:
    from jina_embeddings import JinaEmbeddings


def cosines(a: Any, b: Any) -> np.ndarray:
    """The cosine of each row of `a` with the same row of `b`."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.asarray((a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)))


@cache
def text_of(reference: Reference, text: str, prompt_name: str) -> np.ndarray:
    """The reference's vector, which the tests of all engines and paths in a process share."""
    return reference.text(text, prompt_name)


@cache
def text_multivector_of(reference: Reference, text: str, prompt_name: str) -> np.ndarray:
    return reference.text_multivector(text, prompt_name)


@cache
def picture_of(reference: Reference, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The reference's dense vector and multi-vector of one of `pictures`."""
    image = pictures()[name]
    return reference.image(image), reference.image_multivector(image)


def check_texts(model: JinaEmbeddings, reference: Reference, prompt_name: str) -> None:
    vectors = model.encode_text(list(TEXTS.values()), task=reference.task, prompt_name=prompt_name)
    for name, text, vector in zip(TEXTS, TEXTS.values(), vectors, strict=True):
        expected = text_of(reference, text, prompt_name)
        assert cosines(vector, expected) >= COSINE, f"{reference.task} {prompt_name} {name}"


def check_text_multivectors(model: JinaEmbeddings, reference: Reference) -> None:
    results = model.encode_text(
        list(TEXTS.values()), task=reference.task, prompt_name="passage", return_multivector=True
    )
    for name, text, tokens in zip(TEXTS, TEXTS.values(), results, strict=True):
        expected = text_multivector_of(reference, text, "passage")
        assert tokens.shape == expected.shape, name
        assert cosines(tokens, expected).min() >= COSINE, f"{reference.task} {name}"
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-5)


def check_texts_that_begin_alike(model: JinaEmbeddings, reference: Reference) -> None:
    """Texts that share 60 words and have one, many or no words of their own, as dense and multi-vectors."""
    texts = [TEXTS["middling"] + ending for ending in ("", " z", " and then " + TEXTS["latin"], " y " * 40)] * 2
    vectors = model.encode_text(texts, task=reference.task, prompt_name="query")
    tokens = model.encode_text(texts, task=reference.task, prompt_name="query", return_multivector=True)
    for text, vector, rows in zip(texts, vectors, tokens, strict=True):
        assert cosines(vector, text_of(reference, text, "query")) >= COSINE
        assert cosines(rows, text_multivector_of(reference, text, "query")).min() >= COSINE


def check_images(model: JinaEmbeddings, reference: Reference) -> None:
    images = pictures()
    vectors = model.encode_image(list(images.values()), task=reference.task)
    tokens = model.encode_image(list(images.values()), task=reference.task, return_multivector=True)
    for name, vector, rows in zip(images, vectors, tokens, strict=True):
        dense, expected = picture_of(reference, name)
        assert cosines(vector, dense) >= COSINE, f"{reference.task} {name}"
        assert rows.shape == expected.shape, name
        assert cosines(rows, expected).min() >= COSINE, f"{reference.task} {name}"


def check_late_chunks(model: JinaEmbeddings, reference: Reference) -> None:
    chunks = [TEXTS["latin"], TEXTS["middling"], TEXTS["han"], TEXTS["one letter"]]
    vectors = model.encode_text(chunks, task=reference.task, prompt_name="passage", late_chunking=True)
    assert cosines(vectors, reference.chunks(chunks, "passage")).min() >= COSINE
    apart = model.encode_text(chunks, task=reference.task, prompt_name="passage")
    assert cosines(vectors, apart)[1:].max() < 0.999, "later chunks must know of the earlier ones"


def check_company_does_not_matter(model: JinaEmbeddings) -> None:
    """Compares an input alone with the same input among others: long and short texts, and images."""
    images = pictures()
    inputs: list[Any] = [*TEXTS.values(), images["smallest"], images["1:8"]]
    together = model.encode(inputs, prompt_name="passage")
    alone = [model.encode([value], prompt_name="passage")[0] for value in inputs]
    assert cosines(together, alone).min() >= COSINE_ALONE
    backwards = model.encode(inputs[::-1], prompt_name="passage")[::-1]
    assert cosines(together, backwards).min() >= COSINE_ALONE


def check_matryoshka(model: JinaEmbeddings) -> None:
    whole = model.encode_text("a text", task="code")
    for dim in model.info.matryoshka_dims:
        cut = model.encode_text("a text", task="code", truncate_dim=dim)
        assert cut.shape == (dim,)
        np.testing.assert_allclose(cut, whole[:dim] / np.linalg.norm(whole[:dim]), atol=1e-6)
