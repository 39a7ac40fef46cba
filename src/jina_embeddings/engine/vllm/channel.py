"""The engine's end of `plugin.packed.channel`: sends small packs to the worker, and receives their vectors."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from typing import Any, NamedTuple, cast

import msgspec

from ...errors import EngineError
from ...plugin.packed.channel import framed
from ..framing import Received
from .sender import Rpc

# Timeout for the worker to connect, which it does during the RPC that asks it to.
_CONNECT_TIMEOUT_S = 30


class PackTimes(NamedTuple):
    """Seconds that the device took for a pack, and seconds that it had waited for it."""

    took: float
    idle: float


class Answer(NamedTuple):
    """The bytes of a pack's vectors, None if no CUDA graph is large enough; times: None where they aren't measured."""

    vectors: bytes | None
    times: PackTimes | None


class Channel(asyncio.Protocol):
    """One connection to a worker. All methods run in the engine's event loop."""

    def __init__(self) -> None:
        self._connected = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._received = Received()
        self._tickets = itertools.count()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    @classmethod
    async def open(cls, rpc: Rpc) -> Channel:
        """Listens on a Unix socket, and has the engine's only worker connect. rpc: vLLM's `collective_rpc`."""
        channel = cls()
        folder = tempfile.mkdtemp(prefix="jina-embeddings-")
        try:
            path = os.path.join(folder, "packs")
            server = await asyncio.get_running_loop().create_unix_server(lambda: channel, path)
            try:
                await rpc("jina_open_channel", args=(path,))
                await asyncio.wait_for(channel._connected, _CONNECT_TIMEOUT_S)
            finally:
                # `async with` would wait for the end of the connection, from Python 3.12 on.
                server.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return channel

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def answer(self, wire: list[Any], number: int) -> Answer:
        """Runs a pack on the worker.

        wire: as of `Pack.to_wire`; number: the id of its adapter.

        Raises:
            EngineError: the worker failed to run the pack, or the connection is closed.
        """
        if not self.is_open:
            raise EngineError("the worker's connection is closed")
        assert self._transport is not None
        ticket = next(self._tickets)
        future = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        self._transport.write(framed((ticket, wire, number)))
        try:
            return cast(Answer, await future)
        finally:
            self._waiting.pop(ticket, None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connected.set_result(None)

    def data_received(self, data: bytes) -> None:
        for frame in self._received.frames(data):
            ticket, vectors, times, failure = msgspec.msgpack.decode(frame)
            future = self._waiting.get(ticket)
            if future is None or future.done():
                continue
            if failure is not None:
                future.set_exception(EngineError(f"the worker could not run a pack: {failure}"))
            else:
                future.set_result(Answer(vectors, PackTimes(*times) if times else None))

    def connection_lost(self, error: Exception | None) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(EngineError("the worker has closed its connection"))
