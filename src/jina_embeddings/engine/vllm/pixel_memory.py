"""Memory with the pixels of packs, which workers on the same host map, so that pixels are not sent to them."""

from __future__ import annotations

import logging
import mmap
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

# A worker on a GPU pins each segment, which takes it about as long as copying it ten times, so segments are kept, and
# have few sizes: powers of two up to this many bytes, and its multiples.
_STEP_BYTES = 16 * 1024**2
_LEAST_BYTES = 1024**2
# More than the packs in progress, of which there are three large and two small ones at most, leave only for a moment.
_MAX_FREE = 5
_PROBE_BYTES = 64


@dataclass(frozen=True, eq=False, slots=True)
class Segment:
    """Memory for the pixels of one pack.

    descriptor: the file of the memory, which workers open through `/proc`.
    number: its inode, which no other file gets, while descriptors are given anew.
    place: uint8 (num_bytes,).
    """

    descriptor: int
    number: int
    place: NDArray[np.uint8]


class PixelMemory:
    """The segments of one engine; all methods run in its event loop.

    A segment has one pack at a time. It is reused once the vectors of its pack are here, since a device reads pixels
    from it until then, and retired if they never come. Their number is that of the packs in progress, and `_MAX_FREE`.
    """

    def __init__(self) -> None:
        self._free: list[Segment] = []
        self._taken: set[Segment] = set()
        # Segments that workers may still have mapped.
        self._retired: set[int] = set()

    @classmethod
    async def open(cls, rpc: Callable[..., Awaitable[Any]]) -> PixelMemory | None:
        """The memory, or None if a worker can't read it; the reason is logged. rpc: vLLM's `collective_rpc`."""
        memory, probe = cls(), secrets.token_bytes(_PROBE_BYTES)
        try:
            segment = memory.take(_PROBE_BYTES)
            segment.place[:_PROBE_BYTES] = np.frombuffer(probe, dtype=np.uint8)
            answers = await rpc("jina_read_pixels", args=(memory.reference(segment), _PROBE_BYTES))
        except Exception as error:
            answers = [f"{type(error).__name__}: {error}"]
        wrong = [answer for answer in answers if answer != probe]
        if not wrong:
            memory.give_back(segment)
            return memory
        memory.close()
        reason = wrong[0] if isinstance(wrong[0], str) else "the pixels that a worker reads are wrong"
        logger.warning("pixels are sent to workers, which is slower than sharing memory with them: %s", reason)
        return None

    def take(self, num_bytes: int) -> Segment:
        """A segment of at least this size, which nobody else writes to. Raises OSError if there is no memory."""
        fitting = [segment for segment in self._free if len(segment.place) >= num_bytes]
        if fitting:
            segment = min(fitting, key=lambda one: len(one.place))
            self._free.remove(segment)
        else:
            segment = _new_segment(_rounded(num_bytes))
        self._taken.add(segment)
        return segment

    def reference(self, segment: Segment) -> list[Any]:
        """Plain values by which workers find the segment, and the segments that they should forget."""
        return [os.getpid(), segment.descriptor, segment.number, len(segment.place), sorted(self._retired)]

    def give_back(self, segment: Segment) -> None:
        """To be called when the vectors of its pack are here; more than `_MAX_FREE` free ones are retired."""
        if segment not in self._taken:
            return
        self._taken.remove(segment)
        self._free.append(segment)
        if len(self._free) > _MAX_FREE:
            smallest = min(self._free, key=lambda one: len(one.place))
            self._free.remove(smallest)
            self._close(smallest)

    def retire(self, segment: Segment) -> None:
        """To be called instead if they don't come: nobody knows whether a worker still reads the segment."""
        if segment in self._taken:
            self._taken.remove(segment)
            self._close(segment)

    def were_told(self, reference: list[Any]) -> None:
        """To be called when the vectors of a pack with this reference are here: workers know what it told them."""
        self._retired.difference_update(reference[-1])

    def close(self) -> None:
        for segment in (*self._free, *self._taken):
            self._close(segment)
        self._free.clear()
        self._taken.clear()

    def _close(self, segment: Segment) -> None:
        # The mapping goes with the last array that a thread still writes to.
        os.close(segment.descriptor)
        self._retired.add(segment.number)


def _new_segment(num_bytes: int) -> Segment:
    if not hasattr(os, "memfd_create"):
        raise OSError("only Linux has memory that is shared by its descriptor")
    # Not a file in /dev/shm, which has 64 MB in a container.
    descriptor = os.memfd_create("jina-embeddings-pixels")
    try:
        os.ftruncate(descriptor, num_bytes)
        place = np.frombuffer(mmap.mmap(descriptor, num_bytes), dtype=np.uint8)
        return Segment(descriptor, os.fstat(descriptor).st_ino, place)
    except BaseException:
        os.close(descriptor)
        raise


def _rounded(num_bytes: int) -> int:
    if num_bytes > _STEP_BYTES:
        return -(-num_bytes // _STEP_BYTES) * _STEP_BYTES
    return max(_LEAST_BYTES, 1 << (num_bytes - 1).bit_length())
