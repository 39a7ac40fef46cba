"""Bulk work around vLLM's scheduler: packs go straight to its workers, one call a pack."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..errors import EngineError
from ..images import ImageConfig
from ..packs import make_pack, split_vectors
from ..types import Prepared, Task
from .batching import plan_packs

logger = logging.getLogger(__name__)

WORKER_EXTENSION = "jina_embeddings.plugin.packed.PackedWorker"

Rpc = Callable[..., Awaitable[Any]]


class PackedPath:
    """Sends packs to the workers of one engine and puts the vectors in order.

    rpc: `collective_rpc` of vLLM's engine.
    adapters: name, number and folder of each task's LoRA; empty where the weights have one merged.
    max_tokens: of a pack; at most the engine's `max_num_batched_tokens`, which its buffers are made for.
    half: multi-vectors travel as float16.
    """

    def __init__(
        self,
        rpc: Rpc,
        adapters: dict[Task, tuple[str, int, str]],
        image_config: ImageConfig,
        *,
        max_tokens: int,
        hidden_size: int,
        multivector_dim: int | None,
        half: bool,
    ):
        self.max_tokens = max_tokens
        self._rpc = rpc
        self._adapters = adapters
        self._image_config = image_config
        self._hidden_size = hidden_size
        self._multivector_dim = multivector_dim or 0
        self._half = half
        self._tickets = itertools.count()
        # What each task's packs run on, and why; filled when its first pack comes.
        self.choices: dict[Task, str] = {}

    async def fill(self, results: list[Any], batch: Sequence[Prepared], chosen: Sequence[int]) -> None:
        """Puts the results of the chosen inputs, by index, in their places, as they come.

        No input may have more than `max_tokens` tokens. While the worker runs one pack, the next is made and sent: the
        call that starts a pack returns the vectors of the one before.
        """
        if not chosen:
            return
        packs = [[chosen[place] for place in pack] for pack in plan_packs([batch[i] for i in chosen], self.max_tokens)]
        earlier: tuple[int, list[int]] | None = None
        unfetched: set[int] = set()
        try:
            for indices in (*packs, None):
                ticket, wire, adapter = None, None, None
                if indices is not None:
                    inputs = [batch[index] for index in indices]
                    wire = make_pack(inputs, self._image_config, half=self._half and inputs[0].multivector).to_wire()
                    adapter = await self._adapter(inputs[0].task)
                    ticket = next(self._tickets)
                    # Before the call: one that is cancelled may have started the pack all the same.
                    unfetched.add(ticket)
                fetch = None if earlier is None else earlier[0]
                answers = await self._rpc("jina_run_pack", args=(ticket, wire, adapter, fetch))
                if earlier is not None:
                    unfetched.discard(earlier[0])
                    self._place(results, batch, earlier[1], answers)
                earlier = (ticket, indices) if ticket is not None and indices is not None else None
        finally:
            for ticket in unfetched:
                await self._rpc("jina_forget_pack", args=(ticket,))

    async def _adapter(self, task: Task) -> tuple[str, int, str] | None:
        """The task's adapter; before its first pack the workers choose the weights that it runs on."""
        adapter = self._adapters.get(task)
        if adapter is not None and task not in self.choices:
            ((merged, reason), *_) = await self._rpc("jina_choose_weights", args=(adapter,))
            self.choices[task] = f"{'merged weights' if merged else 'LoRA'}: {reason}"
            logger.info("packs of %s run on %s", task, self.choices[task])
        return adapter

    def _place(
        self, results: list[Any], batch: Sequence[Prepared], indices: list[int], answers: list[bytes | None]
    ) -> None:
        """Puts the vectors of one pack where they belong; one of the workers has sent them."""
        data = next((answer for answer in answers if answer is not None), None)
        if data is None:
            raise EngineError("no worker sent the vectors of a pack")
        inputs = [batch[index] for index in indices]
        multivector = inputs[0].multivector
        width = self._multivector_dim if multivector else self._hidden_size
        vectors = split_vectors(data, inputs, width, half=self._half and multivector)
        for index, vector in zip(indices, vectors, strict=True):
            results[index] = vector
