"""Splits what arrives on a socket into frames: the length of each, 8 bytes, is in front of it."""

from __future__ import annotations

from collections.abc import Iterator

HEADER_BYTES = 8


class Received:
    """The bytes of one connection that haven't been read as frames yet."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def frames(self, data: bytes) -> Iterator[memoryview]:
        """Yields each frame that is whole with this data, without its length; valid until the next one is asked for."""
        self._bytes += data
        while len(self._bytes) >= HEADER_BYTES:
            stop = HEADER_BYTES + int.from_bytes(self._bytes[:HEADER_BYTES], "little")
            if len(self._bytes) < stop:
                return
            with memoryview(self._bytes) as received, received[HEADER_BYTES:stop] as frame:
                yield frame
            del self._bytes[:stop]
