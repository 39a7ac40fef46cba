"""The bundled model on vLLM gives the vectors of the torch engine, and finds passages by meaning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from inputs import COSINE
from jina_embeddings import JinaEmbeddings
from passages import PASSAGES, QUERIES

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def models() -> Iterator[tuple[JinaEmbeddings, JinaEmbeddings]]:
    with (
        JinaEmbeddings("pocket", engine="vllm", dtype="float32", max_model_len=512) as inside,
        JinaEmbeddings("pocket", engine="transformers", dtype="float32", max_model_len=512) as beside,
    ):
        yield inside, beside


@pytest.mark.parametrize("task", ["retrieval", "text-matching", "code"])
def test_both_engines_give_the_same_vectors(models: tuple[JinaEmbeddings, JinaEmbeddings], task: str) -> None:
    texts = [*QUERIES, *PASSAGES]
    dense = [model.encode_text(texts, task) for model in models]
    assert (dense[0] * dense[1]).sum(1).min() >= COSINE
    tokens = [np.concatenate(model.encode_text(texts, task, return_multivector=True)) for model in models]
    assert (tokens[0] * tokens[1]).sum(1).min() >= COSINE


def test_the_passage_that_answers_is_found_inside_vllm(models: tuple[JinaEmbeddings, JinaEmbeddings]) -> None:
    queries = models[0].encode_text(QUERIES, prompt_name="query")
    passages = models[0].encode_text(PASSAGES, prompt_name="passage")
    assert (models[0].similarity(queries, passages).argmax(1) == range(4)).all()
