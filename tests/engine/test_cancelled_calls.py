"""Calls that were given up leave no work behind: the next one is answered at once."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint import Checkpoint, open_checkpoint
from jina_embeddings.engine.padded import Model, PaddedEngine
from jina_embeddings.options import make_options

if TYPE_CHECKING:
    from conftest import CheckpointMaker

    from jina_embeddings.types import Task

CALLS = 40
FORWARD_S = 0.1


class Slowed:
    """A model that takes `FORWARD_S` longer for a forward, and counts them."""

    def __init__(self, model: Model):
        self._model = model
        self.num_forwards = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def hidden_states(self, embeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        self.num_forwards += 1
        time.sleep(FORWARD_S)
        return self._model.hidden_states(embeds, positions)


@pytest.mark.parametrize("name", ["TorchEngine", "TransformersEngine"])
def test_after_many_calls_that_timed_out_the_next_waits_for_one_forward(
    checkpoint: CheckpointMaker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # transformers is imported here, so that collecting tests doesn't wait for it.
    module = importlib.import_module(f"jina_embeddings.engine.{name.removesuffix('Engine').lower()}")
    kind: type[PaddedEngine] = getattr(module, name)
    slowed: list[Slowed] = []
    load: Callable[..., Model] = kind.load

    def load_slowed(self: PaddedEngine, opened: Checkpoint, merge_adapter: Task | None) -> Any:
        slowed.append(Slowed(load(self, opened, merge_adapter)))
        return slowed[0]

    monkeypatch.setattr(kind, "load", load_slowed)
    folder = checkpoint(dtype="float32")
    engine = kind(open_checkpoint(folder), make_options({"max_batch_tokens": 64}, kind.name))
    with JinaEmbeddings(folder, engine=engine) as model:
        expected = model.encode_text("the next one")

        async def call(number: int) -> Any:
            texts = [f"call {number}, text {text} " + "word " * 40 for text in range(4)]
            return await asyncio.wait_for(model.aencode_text(texts), FORWARD_S / 2)

        async def main() -> Any:
            outcomes = await asyncio.gather(*(call(number) for number in range(CALLS)), return_exceptions=True)
            given_up = slowed[0].num_forwards
            return outcomes, given_up, await model.aencode_text("the next one")

        outcomes, given_up, vector = asyncio.run(main())
        assert all(isinstance(outcome, TimeoutError) for outcome in outcomes)
        assert slowed[0].num_forwards - given_up == 1, "the next call's own"
        assert np.allclose(vector, expected, atol=1e-6)
