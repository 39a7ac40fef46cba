"""Limits how many pixels of decoded images are in memory at a time, over all threads of the process."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

MAX_DECODED_PIXELS = 100_000_000
"""The most pixels of one image, and of all images that are decoded at a time.

A pixel takes 4 bytes, or 8 if parts of the image are transparent. The size of a file says nothing about its pixels.
"""


class PixelBudget:
    """A number of pixels that threads take and give back; a thread that wants more than is free waits its turn."""

    def __init__(self, total: int):
        self.total = total
        self._free = total
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Within this context, a `Room` for one image; it is given back at the end."""
        room = Room(self)
        try:
            yield room
        finally:
            room.give_back()

    def _take(self, num_pixels: int) -> None:
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is turn and self._free >= num_pixels)
                self._free -= num_pixels
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()

    def _give_back(self, num_pixels: int) -> None:
        with self._changed:
            self._free += num_pixels
            self._changed.notify_all()


class Room:
    """The pixels that one image has taken from a budget."""

    def __init__(self, budget: PixelBudget):
        self._budget = budget
        self._taken = 0

    def take(self, num_pixels: int) -> None:
        """Waits until that many pixels are free, and takes them; an image above the whole budget takes all of it."""
        self.give_back()
        wanted = min(num_pixels, self._budget.total)
        self._budget._take(wanted)
        self._taken = wanted

    def give_back(self) -> None:
        if self._taken:
            self._budget._give_back(self._taken)
            self._taken = 0


PIXELS = PixelBudget(MAX_DECODED_PIXELS)

if hasattr(os, "register_at_fork"):
    # The rooms of threads that don't exist in a forked process would never be given back.
    os.register_at_fork(after_in_child=lambda: PIXELS.__init__(MAX_DECODED_PIXELS))  # type: ignore[misc]
