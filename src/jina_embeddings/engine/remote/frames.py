"""Messages over a Unix socket: those of one iteration of the event loop are sent together, as one frame.

A frame is its length, 8 bytes, and a pickled list. Unpickling can run code, so the socket has to be in a folder that
only the user of both processes can open.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any, cast

from ..framing import HEADER_BYTES, Received


class Frames(asyncio.Protocol):
    """One end of a connection.

    receive: called with each message. closed: called once, when the connection is gone.
    """

    def __init__(self, receive: Callable[[Any], None], closed: Callable[[], None]):
        self._receive, self._closed = receive, closed
        self._transport: asyncio.Transport | None = None
        self._received = Received()
        self._waiting: list[Any] = []

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, message: Any) -> None:
        """Sends a message, if the connection is open; anything that can be pickled."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(message)

    def close(self) -> None:
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and self.is_open:
            assert self._transport is not None
            frame = pickle.dumps(waiting, protocol=5)
            self._transport.writelines([len(frame).to_bytes(HEADER_BYTES, "little"), frame])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for frame in self._received.frames(data):
            for message in pickle.loads(frame):
                self._receive(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._closed()
