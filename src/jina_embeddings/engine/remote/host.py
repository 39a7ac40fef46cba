"""`EngineHost`: lets other processes of this machine use an engine."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import EngineError, JinaEmbeddingsError
from ...types import Prepared
from ..base import Engine
from .frames import Frames

_LOOK_S = 0.5


class About(NamedTuple):
    """The first message to each process: the properties of the engine."""

    name: str
    max_length: int
    calls_at_once: int
    chunk_size: int
    hang_s: float


class Run(NamedTuple):
    """A call of a process; ticket: repeated in the answer."""

    ticket: int
    batch: Sequence[Prepared]
    batch_size: int | None
    call_size: int | None


class Cancel(NamedTuple):
    """Nobody waits for the call any more."""

    ticket: int


class Answer(NamedTuple):
    """What the engine has returned for a call, or its error."""

    ticket: int
    outputs: Any
    error: JinaEmbeddingsError | None


class EngineHost:
    """The connections of other processes to one engine. Used from one event loop, best the engine's own."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._connections: set[_Connection] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Path]:
        """Within this context, a `RemoteEngine` can connect to the path that it gives.

        When the engine dies, all connections are closed.
        """
        folder = tempfile.mkdtemp(prefix="jina-embeddings-")
        path = Path(folder) / "engine"
        watch = asyncio.ensure_future(self._watch())
        server = await asyncio.get_running_loop().create_unix_server(self._connected, str(path))
        try:
            yield path
        finally:
            # `async with` would wait for the end of the connections, from Python 3.12 on.
            server.close()
            watch.cancel()
            self._close_all()
            shutil.rmtree(folder, ignore_errors=True)

    def _connected(self) -> Frames:
        connection = _Connection(self._engine, self._connections.discard)
        self._connections.add(connection)
        return connection.frames

    async def _watch(self) -> None:
        while self._engine.alive:
            for connection in self._connections:
                connection.frames.send(self._engine.pack_fill)
            await asyncio.sleep(_LOOK_S)
        self._close_all()

    def _close_all(self) -> None:
        for connection in list(self._connections):
            connection.frames.close()


class _Connection:
    """One process. gone: called with this when the process has closed the connection."""

    def __init__(self, engine: Engine, gone: Any):
        self._engine, self._gone = engine, gone
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.frames = _Greeting(About(*(getattr(engine, name) for name in About._fields)), self._receive, self._closed)

    def _receive(self, message: Run | Cancel) -> None:
        if isinstance(message, Run):
            task = asyncio.ensure_future(self._answer(message))
            self._tasks[message.ticket] = task
        elif (found := self._tasks.get(message.ticket)) is not None:
            found.cancel()

    async def _answer(self, run: Run) -> None:
        try:
            outputs = await self._engine.arun(run.batch, batch_size=run.batch_size, call_size=run.call_size)
            self.frames.send(Answer(run.ticket, outputs, None))
        except JinaEmbeddingsError as error:
            self.frames.send(Answer(run.ticket, None, error))
        except Exception as error:
            self.frames.send(Answer(run.ticket, None, EngineError(f"{type(error).__name__}: {error}")))
        finally:
            self._tasks.pop(run.ticket, None)

    def _closed(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        self._gone(self)


class _Greeting(Frames):
    """Sends a message first."""

    def __init__(self, first: About, *arguments: Any):
        super().__init__(*arguments)
        self._first = first

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send(self._first)
