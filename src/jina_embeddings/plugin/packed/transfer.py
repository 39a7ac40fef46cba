"""Copies between host and device that don't wait for kernels launched before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Buffers of `Staging`; there are never more packs in progress whose integers wait to be copied.
_NUM_STAGED = 4


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """The array on the device, copied from pinned memory: other copies wait for all kernels launched before."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Staging:
    """A few pinned buffers of integers, used in turn, so that one is filled while another is still being copied."""

    def __init__(self, num_integers: int, device: torch.device):
        pinned = device.type == "cuda"
        self._buffers = [torch.zeros(num_integers, dtype=torch.int32, pin_memory=pinned) for _ in range(_NUM_STAGED)]
        self._copied = [torch.cuda.Event() if pinned else None for _ in self._buffers]
        self._turn = 0

    @contextmanager
    def next(self) -> Iterator[torch.Tensor]:
        """The buffer used longest ago, int32 (num_integers,). Launch its copy within this context."""
        self._turn = (self._turn + 1) % len(self._buffers)
        copied = self._copied[self._turn]
        if copied is not None:
            copied.synchronize()
        yield self._buffers[self._turn]
        if copied is not None:
            copied.record()


class SideCopies:
    """Copies to the device on a stream of their own, which overlap with kernels.

    On the kernels' stream, a copy would wait for all kernels launched before.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def to_device(self, arrays: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """The bytes of all arrays concatenated, uint8 (num_bytes,); kernels launched afterwards wait for the copy.

        Arrays in pinned memory are read by the device itself, and must stay as they are until the copy is done.
        """
        if self._stream is None:
            return _concatenated(arrays, pinned=False).to(self._device)
        parts = [torch.from_numpy(array).view(-1) for array in arrays if array.flags.writeable]
        if len(parts) < len(arrays) or not all(part.is_pinned() for part in parts):
            parts = [_concatenated(arrays, pinned=True)]
        sizes = [len(part) for part in parts]
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            copied = torch.empty(sum(sizes), dtype=torch.uint8, device=self._device)
            for place, part in zip(copied.split(sizes), parts, strict=True):  # type: ignore[no-untyped-call]
                place.copy_(part, non_blocking=True)
        current.wait_stream(self._stream)
        # Keeps the allocator from giving the memory to the next copy while kernels still read it.
        copied.record_stream(current)
        return copied

    def wait(self) -> None:
        """Waits for all copies, but not for kernels."""
        if self._stream is not None:
            self._stream.synchronize()


def _concatenated(arrays: Sequence[NDArray[np.uint8]], *, pinned: bool) -> torch.Tensor:
    """The bytes of all arrays, uint8 (num_bytes,), on the host."""
    bounds = np.cumsum([0, *(array.nbytes for array in arrays)])
    host = torch.empty(int(bounds[-1]), dtype=torch.uint8, pin_memory=pinned)
    # numpy copies in this thread; torch would wake its thread pool, whose threads then spin waiting for more work.
    places = np.split(host.numpy(), bounds[1:-1])
    for place, array in zip(places, arrays, strict=True):
        place[:] = array.reshape(-1)
    return host


@dataclass(frozen=True, slots=True)
class Arrival:
    """A tensor on its way to the host, and the event that says it has arrived (None on a CPU)."""

    tensor: torch.Tensor
    event: torch.cuda.Event | None

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Arrival:
        if not tensor.is_cuda:
            # Copied on a CPU too, as the memory may be a graph's, which the next pack overwrites.
            return cls(tensor.clone(), None)
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return cls(host, event)

    def is_here(self) -> bool:
        return self.event is None or self.event.query()

    def wait(self) -> torch.Tensor:
        if self.event is not None:
            self.event.synchronize()
        return self.tensor
