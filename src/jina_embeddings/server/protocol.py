"""uvicorn's HTTP protocol with limits for all that isn't a body, and one write for each answer."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .gate import MAX_HEADER_BYTES

HEADERS_S = 20.0
"""Time for headers to arrive, from the start of the connection or from the first byte of its next request."""

# What the size of a chunk takes in a body of chunks, and more.
_CHUNK_BYTES = 32
_UPGRADE = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _Together:
    """A transport that writes everything of one iteration of the event loop together.

    uvicorn writes the headers of an answer and then its body, each with a system call that wakes the client; that is a
    third of the processor time of a small request.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop):
        self._transport, self._loop = transport, loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and not self._transport.is_closing():
            self._transport.writelines(waiting)


class BoundedProtocol(HttpToolsProtocol):
    """The protocol with the limits, which uvicorn's parser doesn't have.

    Trailers, headers that follow a body of chunks, are dropped: nobody has limited or checked them.
    """

    _extra_bytes = 0
    _in_headers = True
    _between = True
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Together(transport, self.loop))  # type: ignore[arg-type]
        self._deadline = self.loop.call_later(HEADERS_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._extra_bytes += len(data)
        if self._in_headers or self._between:
            data = _without_upgrade(data)
        super().data_received(data)
        self._bound_idling()
        if self._extra_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            super().send_400_response(msg)
        else:
            # An answer is under way, and a client would take this one for it.
            cycle.keep_alive = False

    def on_message_begin(self) -> None:
        self._in_headers, self._between = True, False
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_S, self._give_up)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_waiting()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            # RFC 9112, 3.2. The parser takes any error for a request that is none.
            raise ValueError("one Host header is needed")
        super().on_headers_complete()
        # Trailers are added to this list, and not to that of the request.
        self.headers = []
        if self.parser.should_upgrade():
            # One that came together with other requests. Nothing is read after it.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._extra_bytes -= len(body) + _CHUNK_BYTES
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._extra_bytes, self._between = 0, True
        super().on_message_complete()

    def _bound_idling(self) -> None:
        """Limits the time of a connection whose request was answered before these bytes arrived.

        uvicorn stops its own timer for whatever arrives, and begins it again only after the next answer.
        """
        idles = self.cycle is not None and self.cycle.response_complete and not self.transport.is_closing()
        if not idles or self.timeout_keep_alive_task is not None:
            return
        if self._between:
            self._stop_waiting()
            keep_s, end = self.timeout_keep_alive, self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(keep_s, end)
        elif self._deadline is None:
            # The rest of a body that nobody reads, or the next headers.
            self._deadline = self.loop.call_later(HEADERS_S, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _without_upgrade(data: bytes) -> bytes:
    """Renames the header `Upgrade` in data that begin with headers, or between them.

    A server may ignore the wish for another protocol, which Java's client always has, but the parser drops the body.
    """
    if b"pgrade" not in data and b"PGRADE" not in data:
        return data
    end = data.find(b"\r\n\r\n")
    end = len(data) if end < 0 else end
    return _UPGRADE.sub(b"\r\nx-upgrade", data[:end]) + data[end:]
