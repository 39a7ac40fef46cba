"""Calls that were given up leave no work behind: the next one is answered at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.types import Prepared

if TYPE_CHECKING:
    from conftest import CheckpointMaker

CALLS = 40
FORWARD_S = 0.1


@pytest.mark.parametrize("engine", ["torch", "transformers"])
def test_after_many_calls_that_timed_out_the_next_waits_for_one_forward(
    checkpoint: CheckpointMaker, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JinaEmbeddings(checkpoint(dtype="float32"), engine=engine, max_batch_tokens=64) as model:
        expected = model.encode_text("the next one")
        batches: Any = model._engine._batches  # type: ignore[attr-defined]
        forward, ran = batches._forward, []

        def slow(batch: Sequence[Prepared]) -> Any:
            ran.append(len(batch))
            time.sleep(FORWARD_S)
            return forward(batch)

        monkeypatch.setattr(batches, "_forward", slow)

        async def call(number: int) -> Any:
            texts = [f"call {number}, text {text} " + "word " * 40 for text in range(4)]
            return await asyncio.wait_for(model.aencode_text(texts), FORWARD_S / 2)

        async def main() -> Any:
            outcomes = await asyncio.gather(*(call(number) for number in range(CALLS)), return_exceptions=True)
            given_up = len(ran)
            return outcomes, given_up, await model.aencode_text("the next one")

        outcomes, given_up, vector = asyncio.run(main())
        assert all(isinstance(outcome, TimeoutError) for outcome in outcomes)
        assert len(ran) - given_up == 1, "the next call's own"
        assert np.allclose(vector, expected, atol=1e-6)
