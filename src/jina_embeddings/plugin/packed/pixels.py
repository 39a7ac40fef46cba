"""The worker's end of the memory that the engine shares its pixels by: segments are mapped, and pinned on a GPU."""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


class MappedPixels:
    """Maps segments of the engine's `PixelMemory`; any thread may call it.

    device: that which reads the pixels. wait: waits until it has read all that it was told to read.
    """

    def __init__(self, device: torch.device, wait: Callable[[], None]):
        self._device = device
        self._wait = wait
        self._segments: dict[int, NDArray[np.uint8]] = {}
        self._pinned: set[int] = set()
        self._lock = threading.Lock()

    def __call__(self, reference: Sequence[Any]) -> NDArray[np.uint8]:
        """The memory of a segment, uint8 (num_bytes,), mapped once; the engine writes to it when its pack is done.

        reference: as of `PixelMemory.reference`.

        Raises:
            OSError: the engine's process can't be read, or the segment is no longer there.
        """
        process, descriptor, number, num_bytes, retired = reference
        with self._lock:
            if gone := self._segments.keys() & set(retired):
                self._wait()
                for old in gone:
                    self._forget(old)
            if number not in self._segments:
                self._segments[number] = _mapped(process, descriptor, number, num_bytes)
                if self._device.type == "cuda":
                    self._pin(number)
            return self._segments[number]

    def _pin(self, number: int) -> None:
        place = self._segments[number]
        failure = int(torch.cuda.cudart().cudaHostRegister(place.ctypes.data, len(place), 0))
        if failure:
            logger.warning("pixels are copied once more: CUDA error %d when pinning %d bytes", failure, len(place))
        else:
            self._pinned.add(number)

    def _forget(self, number: int) -> None:
        place = self._segments.pop(number)
        if number in self._pinned:
            self._pinned.remove(number)
            torch.cuda.cudart().cudaHostUnregister(place.ctypes.data)


def _mapped(process: int, descriptor: int, number: int, num_bytes: int) -> NDArray[np.uint8]:
    own = os.open(f"/proc/{process}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    try:
        # The descriptor, or on another host the process, may stand for another file.
        if os.fstat(own).st_ino != number:
            raise OSError("the engine has given up the memory of these pixels")
        return np.frombuffer(mmap.mmap(own, num_bytes), dtype=np.uint8)
    finally:
        os.close(own)
