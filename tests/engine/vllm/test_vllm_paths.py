"""Which path the vLLM engine chooses for each input of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from jina_embeddings.engine.vllm.paths import packed_and_scheduled
from jina_embeddings.types import Prepared

MIN_INPUTS = 16
PACK_TOKENS = 100


def ways(path: str, lengths: list[int], call_size: int) -> list[str]:
    batch = [Prepared(token_ids=np.zeros(length, np.int32), task="code", spans=((0, length),)) for length in lengths]
    packed, scheduled = packed_and_scheduled(batch, path, call_size, min_inputs=MIN_INPUTS, pack_tokens=PACK_TOKENS)
    assert sorted(packed + scheduled) == list(range(len(batch)))
    return ["packed" if index in packed else "scheduled" for index in range(len(batch))]


@pytest.mark.parametrize(("count", "call_size", "way"), [(15, 15, "scheduled"), (16, 16, "packed"), (3, 16, "packed")])
def test_auto_chooses_the_path_by_the_size_of_the_whole_call(count: int, call_size: int, way: str) -> None:
    assert ways("auto", [5] * count, call_size) == [way] * count


def test_a_given_path_is_always_used() -> None:
    assert ways("packed", [5], 1) == ["packed"]
    assert ways("scheduled", [5] * 99, 99) == ["scheduled"] * 99


def test_inputs_longer_than_a_pack_are_scheduled() -> None:
    assert ways("packed", [5, PACK_TOKENS + 1, PACK_TOKENS], 3) == ["packed", "scheduled", "packed"]
