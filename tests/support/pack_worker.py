"""A fake worker for the engine's side of packed prefill, which keeps results by ticket."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import torch

from jina_embeddings.engine.vllm.packed import PackedPath
from jina_embeddings.engine.vllm.sender import PackSender
from jina_embeddings.inputs.patches import ImageConfig
from jina_embeddings.plugin.packed.layout import sources
from jina_embeddings.plugin.packed.pixels import MappedPixels
from jina_embeddings.plugin.packs import Pack
from jina_embeddings.types import Prepared


class Worker:
    """A worker whose vectors are the first token of each prompt, plus the mean of its image.

    It fails, or blocks until `proceed` is set, at the pack of a given number.
    """

    def __init__(self, fail_at: int | None = None, wait_at: int | None = None, silent: bool = False):
        self.results: dict[int, bytes] = {}
        self.num_started = 0
        self.waiting = asyncio.Event()
        self.proceed = asyncio.Event()
        self.pixels = MappedPixels(torch.device("cpu"), lambda: None)
        self._fail_at, self._wait_at, self._silent = fail_at, wait_at, silent

    async def rpc(self, method: str, args: tuple[Any, ...]) -> list[Any]:
        if method == "jina_forget_pack":
            self.results.pop(args[0], None)
            return [None]
        if method == "jina_read_pixels":
            return [self.pixels(args[0])[: args[1]].tobytes()]
        if method == "jina_pack_is_done":
            return [True, True]
        ticket, wire, _, fetch = args
        if wire is not None:
            self.num_started += 1
            if self.num_started == self._fail_at:
                raise RuntimeError("the worker failed")
            pack = Pack.from_wire(wire, self.pixels)
            firsts = pack.token_ids[sources(pack.lengths, pack.shared)][pack.spans[:, 0]].astype(np.float32)
            for image in pack.images:
                firsts[np.searchsorted(np.cumsum(pack.lengths), image.start, "right")] += image.pixels.mean()
            self.results[ticket] = np.repeat(firsts[:, None], 4, axis=1).tobytes()
            if self.num_started == self._wait_at:
                self.waiting.set()
                await asyncio.wait_for(self.proceed.wait(), 60)
        data = None if fetch is None else self.results.pop(fetch)
        return [None, None if self._silent else data]


def sender_of(worker: Worker) -> PackSender:
    return PackSender(worker.rpc, {}, ImageConfig(), hidden_size=4, multivector_dim=None, half=True)


def path_of(worker: Worker) -> PackedPath:
    return PackedPath(sender_of(worker), 20)


async def run(worker: Worker, count: int) -> list[Any]:
    batch = inputs(count)
    results: list[Any] = [None] * count
    await path_of(worker).fill(results, batch, range(count))
    return results


def inputs(count: int) -> list[Prepared]:
    """Prompts of 1 to 9 tokens, whose first token is their index."""
    ids = [np.full(1 + number % 9, number, dtype=np.int32) for number in range(count)]
    return [Prepared(token_ids=row, task="code", spans=((0, len(row)),)) for row in ids]
