"""`RemoteEngine`: the engine of another process of this machine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import EngineClosedError, EngineDeadError, EngineUnavailableError
from ...fill import Fill
from ...types import Prepared
from ..loop_thread import LoopThread
from .frames import Frames
from .host import About, Answer, Cancel, Run

if TYPE_CHECKING:
    from ...types import Vectors

T = TypeVar("T")

_CONNECT_S = 30.0


class RemoteEngine:
    """An `Engine` that has its calls run by the `EngineHost` that listens at a path.

    Raises:
        EngineUnavailableError: nothing answers there.
    """

    def __init__(self, path: Path):
        self._tickets = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.pack_fill = Fill()
        self._loop = LoopThread("jina-embeddings-remote")
        try:
            self._frames, about = self._loop.run(self._connected(path))
        except (OSError, TimeoutError, EngineDeadError) as error:
            self._loop.stop()
            raise EngineUnavailableError(f"no engine answers at {path}: {error}") from error
        self.name, self.max_length, self.calls_at_once, self.chunk_size, self.hang_s = about

    @property
    def alive(self) -> bool:
        return not self._loop.stopping and self._frames.is_open

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> Sequence[Vectors]:
        return self._loop.run(self._answer(batch, batch_size, call_size))

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> Sequence[Vectors]:
        answer = self._answer(batch, batch_size, call_size)
        return await (answer if asyncio.get_running_loop() is self._loop.loop else self._loop.arun(answer))

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(main)

    def close(self) -> None:
        if self._loop.stopping:
            return
        self._loop.cancel()
        self._loop.run_last(self._frames.close)
        self._loop.stop()

    async def _connected(self, path: Path) -> tuple[Frames, About]:
        loop = asyncio.get_running_loop()
        greeting = next(self._tickets)
        greeted = self._waiting[greeting] = loop.create_future()

        def receive(message: About | Answer | Fill) -> None:
            if isinstance(message, Fill):
                self.pack_fill = message
            else:
                self._settle(Answer(greeting, message, None) if isinstance(message, About) else message)

        async with asyncio.timeout(_CONNECT_S):
            _, frames = await loop.create_unix_connection(lambda: Frames(receive, self._closed), str(path))
            about: About = await greeted
        del self._waiting[greeting]
        return frames, about

    async def _answer(self, batch: Sequence[Prepared], batch_size: int | None, call_size: int | None) -> Any:
        if not self._frames.is_open:
            raise self._dead() if not self._loop.stopping else EngineClosedError("the engine is closed")
        ticket = next(self._tickets)
        future = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        self._frames.send(Run(ticket, batch, batch_size, call_size))
        try:
            return await future
        except asyncio.CancelledError:
            self._frames.send(Cancel(ticket))
            raise
        finally:
            del self._waiting[ticket]

    def _settle(self, answer: Answer) -> None:
        future = self._waiting.get(answer.ticket)
        if future is None or future.done():
            return
        if answer.error is not None:
            future.set_exception(answer.error)
        else:
            future.set_result(answer.outputs)

    def _closed(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._dead())

    @staticmethod
    def _dead() -> EngineDeadError:
        return EngineDeadError("the process that has the engine has ended")
