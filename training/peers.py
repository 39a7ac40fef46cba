"""Processes that train one model together, each on a GPU and on batches of its own.

Every few steps all of them go on from the mean of their weights (Stich 2019, "Local SGD Converges Fast and Communicates
Little"). torchrun starts them and tells each its number; a process that is started by itself has no peers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")

EVERY = 10
"""Steps from one mean to the next: short ones wait for long ones then, and the host for all."""
APART = 1000
"""Of seeds; a run takes a few that follow each other."""


class Peers:
    """The others, and which one this process is; all of them make the same calls in the same order."""

    def __init__(self, rank: int = 0, count: int = 1):
        self.rank, self.count = rank, count

    @classmethod
    def of_torchrun(cls, device: str) -> Peers:
        """Meets the others, if there are any. On CUDA each takes the GPU of its number."""
        peers = cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
        if peers.count > 1:
            on_gpu = device == "cuda"
            if on_gpu:
                torch.cuda.set_device(peers.rank)
            dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        return peers

    def own_seed(self, seed: int) -> int:
        """One that no other has, so that no two draw the same batches."""
        return seed + APART * self.rank

    def part(self) -> None:
        """Ends what holds them together."""
        if self.count > 1:
            dist.destroy_process_group()

    def any(self, flag: bool) -> bool:
        """Whether it is true of one of them; everybody waits for the last."""
        if self.count == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags)

    def meet(self) -> None:
        """Waits for the last."""
        self.any(False)

    def each(self, makers: Sequence[Callable[[], T]]) -> list[T]:
        """What each of them makes; the work is shared out, and everybody gets all."""
        made: list[Any] = [make() if at % self.count == self.rank else None for at, make in enumerate(makers)]
        if self.count == 1:
            return made
        for at in range(len(made)):
            box = [made[at]]
            dist.broadcast_object_list(box, src=at % self.count, device=torch.device("cpu"))
            made[at] = box[0]
        return made

    def own(self, numbers: Tensor) -> Tensor:
        """(n,): the numbers that fall to this one, in turn, and zeros."""
        return numbers * (torch.arange(len(numbers), device=numbers.device) % self.count == self.rank)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of everybody's, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    @torch.no_grad()
    def start_alike(self, tensors: Sequence[Tensor]) -> None:
        """Makes everybody's tensors those of the first."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Makes everybody's tensors their mean, in place."""
        if self.count > 1:
            flat = self.total(torch.cat([tensor.flatten() for tensor in tensors])) / self.count
            parts = flat.split([tensor.numel() for tensor in tensors])
            torch._foreach_copy_(list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])


ALONE = Peers()
