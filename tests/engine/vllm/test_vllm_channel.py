"""Small calls that go past vLLM's calls, in a whole engine with stand-ins for graphs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import parity
from inputs import COSINE, TEXTS, pictures
from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import EngineError
from loaded import vllm_loaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CheckpointMaker

    from jina_embeddings.engine.vllm.engine import VllmEngine
    from reference import Reference

pytestmark = pytest.mark.engine

GRAPH_TOKENS = 96


@pytest.fixture(scope="module")
def folder(checkpoint: CheckpointMaker) -> Path:
    return checkpoint(dtype="float32")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Iterator[tuple[JinaEmbeddings, VllmEngine]]:
    from jina_embeddings.engine.vllm import arguments

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arguments, "WORKER_EXTENSION", "replaying_worker.ReplayingWorker")
        with vllm_loaded(folder, merge_adapter="retrieval", graph_tokens=GRAPH_TOKENS) as both:
            yield both


@pytest.fixture(scope="module")
def model(loaded: tuple[JinaEmbeddings, VllmEngine]) -> JinaEmbeddings:
    return loaded[0]


def replayed(engine: VllmEngine) -> int:
    (count,) = engine.run_async(engine.on_workers("count_replayed"))
    return int(count)


def expected(ids: list[int], *, many: bool) -> np.ndarray[Any, Any]:
    # Imported here, since this imports vLLM, which would delay the collection of tests.
    from replaying_worker import HIDDEN, MULTIVECTOR, marked

    return marked(ids, MULTIVECTOR).numpy() if many else marked([sum(ids)], HIDDEN).numpy()[0]


async def calls_of(model: JinaEmbeddings, texts: list[str]) -> list[Any]:
    cases = [(text, many) for text in texts for many in (False, True)]
    return await asyncio.gather(*(model.aencode_text(text, return_multivector=many) for text, many in cases))


def test_texts_get_the_vectors_of_their_own_graph(
    loaded: tuple[JinaEmbeddings, VllmEngine], references: dict[str, Reference]
) -> None:
    model, engine = loaded
    texts = [f"{text} {number}"[:60] for number in range(6) for text in TEXTS.values()]
    before = replayed(engine)
    for run in (asyncio.run, model.run_async):
        found = run(calls_of(model, texts))
        assert len(found) == 2 * len(texts)
        for text, dense, many in zip(texts, found[::2], found[1::2], strict=True):
            ids = references["retrieval"].text_ids(text, "query")
            assert np.allclose(dense, expected(ids, many=False), atol=1e-3)
            assert np.allclose(many, expected(ids, many=True), atol=1e-3)
    assert replayed(engine) > before


def test_what_has_no_graph_goes_beside_it(model: JinaEmbeddings, folder: Path) -> None:
    picture = pictures()["smallest"]
    long = "word " * 3 * GRAPH_TOKENS
    with JinaEmbeddings(folder, engine="torch", merge_adapter="retrieval") as reference:
        for value in (picture, long):
            one, other = model.encode(value), reference.encode(value)
            assert parity.cosines(np.atleast_2d(one), np.atleast_2d(other)).min() >= COSINE


def test_a_blocking_call_in_the_engines_own_loop_is_refused(model: JinaEmbeddings) -> None:
    async def call() -> Any:
        return model.encode_text("this would wait for itself")

    with pytest.raises(EngineError, match="aencode"):
        model.run_async(call())
