"""How many pixels of decoded images the process holds at a time, over all its threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

MAX_DECODED_PIXELS = 100_000_000
"""Of one image that is decoded, and of all that are decoded at a time. A pixel takes 4 bytes, twice that where parts of
the image are transparent; a small file may say that it has any number of them."""


class PixelBudget:
    """Room for pixels. Who asks for room that isn't there waits until others have given theirs back, in turn."""

    def __init__(self, total: int):
        self.total = total
        self._free = total
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Room for one image, given back at the end."""
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
    """What one image takes of a budget."""

    def __init__(self, budget: PixelBudget):
        self._budget = budget
        self._taken = 0

    def take(self, num_pixels: int) -> None:
        """Waits until there is room for an image of that many pixels; one above the whole budget runs alone."""
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
    # Rooms that threads held which a forked process doesn't have.
    os.register_at_fork(after_in_child=lambda: PIXELS.__init__(MAX_DECODED_PIXELS))  # type: ignore[misc]
