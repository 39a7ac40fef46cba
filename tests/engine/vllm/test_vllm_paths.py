"""Which path the vLLM engine chooses for a batch, with fakes of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings.engine.vllm.engine import VllmEngine
from jina_embeddings.types import Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

PACK_TOKENS = 100


class Engine(VllmEngine):
    """An engine whose results are the names of the path that each input took."""

    def __init__(self, path: str):
        self.path, self._min_packed_inputs, self.pack_tokens = path, 16, PACK_TOKENS
        self._packed: Any = self

    async def fill(self, results: list[Any], batch: Sequence[Prepared], indices: list[int]) -> None:
        for index in indices:
            results[index] = "packed"

    async def _fill_scheduled(self, results: list[Any], batch: Sequence[Prepared], indices: list[int]) -> None:
        for index in indices:
            results[index] = "scheduled"


def ways(path: str, lengths: list[int], call_size: int) -> list[Any]:
    batch = [Prepared(token_ids=np.zeros(length, np.int32), task="code", spans=((0, length),)) for length in lengths]
    results: list[Any] = [None] * len(batch)
    asyncio.run(Engine(path)._fill(results, batch, call_size))
    return results


@pytest.mark.parametrize(("count", "call_size", "way"), [(15, 15, "scheduled"), (16, 16, "packed"), (3, 16, "packed")])
def test_auto_chooses_the_path_by_the_size_of_the_whole_call(count: int, call_size: int, way: str) -> None:
    assert ways("auto", [5] * count, call_size) == [way] * count


def test_a_given_path_is_always_used() -> None:
    assert ways("packed", [5], 1) == ["packed"]
    assert ways("scheduled", [5] * 99, 99) == ["scheduled"] * 99


def test_inputs_longer_than_a_pack_are_scheduled() -> None:
    assert ways("packed", [5, PACK_TOKENS + 1, PACK_TOKENS], 3) == ["packed", "scheduled", "packed"]
