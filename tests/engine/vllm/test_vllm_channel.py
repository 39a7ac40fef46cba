"""Small calls that go past vLLM's calls, in a whole engine whose graphs are run again on the CPU."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import parity
from inputs import COSINE, TEXTS, pictures
from jina_embeddings import JinaEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CheckpointMaker

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def folder(checkpoint: CheckpointMaker) -> Any:
    return checkpoint(dtype="float32")


@pytest.fixture(scope="module")
def model(folder: Any) -> Iterator[JinaEmbeddings]:
    from jina_embeddings.engine.vllm import arguments

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arguments, "WORKER_EXTENSION", "replaying_worker.ReplayingWorker")
        with JinaEmbeddings(folder, engine="vllm", merge_adapter="retrieval", graph_tokens=96) as loaded:
            yield loaded


def replayed(model: JinaEmbeddings) -> int:
    engine: Any = model._engine
    (count,) = engine._loop.run(engine._llm.collective_rpc("count_replayed"))
    return int(count)


def test_texts_and_pictures_have_the_right_vectors_by_graphs_and_beside_them(
    model: JinaEmbeddings, folder: Any
) -> None:
    inputs: list[Any] = [*TEXTS.values(), *pictures().values()]
    cases = [(value, many) for value in inputs for many in (False, True)]
    with JinaEmbeddings(folder, engine="torch", merge_adapter="retrieval") as reference:
        expected = [reference.encode(value, return_multivector=many) for value, many in cases]
    before = replayed(model)

    async def main() -> list[Any]:
        return await asyncio.gather(*(model.aencode(value, return_multivector=many) for value, many in cases))

    for found, one in zip(asyncio.run(main()), expected, strict=True):
        assert parity.cosines(np.atleast_2d(found), np.atleast_2d(one)).min() >= COSINE
    assert replayed(model) > before


def test_calls_from_the_engines_own_loop_are_the_same(model: JinaEmbeddings) -> None:
    async def calls() -> list[Any]:
        return await asyncio.gather(*(model.aencode_text(text) for text in TEXTS.values()))

    for found, expected in zip(model.run_async(calls()), asyncio.run(calls()), strict=True):
        assert parity.cosines(found[None], expected[None]).min() >= COSINE


def test_a_blocking_call_in_the_engines_own_loop_is_refused(model: JinaEmbeddings) -> None:
    async def call() -> Any:
        return model.encode_text("this would wait for itself")

    with pytest.raises(Exception, match="aencode"):
        model.run_async(call())
