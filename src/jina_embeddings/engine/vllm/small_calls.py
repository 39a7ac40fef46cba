"""Small calls of any thread or event loop: each takes one callback into the engine's loop, and one back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ...types import Prepared
from ..loop_thread import LoopThread, Mailbox
from .queue import Call

if TYPE_CHECKING:
    from ...types import Vectors


class SmallCalls:
    """Passes small calls to the engine's event loop and waits for them, without a thread or a task for each.

    loop: the engine's event loop.
    accept, drop: called in that loop, to start a call, and to forget one that nobody waits for.
    """

    def __init__(self, loop: LoopThread, accept: Callable[[Call], None], drop: Callable[[Call], None]):
        self._loop = loop
        self._accept = accept
        self._drop = drop
        # One mailbox for each caller's event loop, so that several replies wake it once.
        self._mailboxes: dict[asyncio.AbstractEventLoop, Mailbox] = {}

    def run(self, batch: Sequence[Prepared]) -> list[Vectors]:
        self._loop.refuse_own_thread()
        future: Future[None] = Future()
        call = Call([None] * len(batch), batch, len(batch), future)
        self._loop.post(partial(self._accept, call))
        try:
            future.result()
        except BaseException:
            self._forget(call)
            raise
        return call.results

    async def arun(self, batch: Sequence[Prepared]) -> list[Vectors]:
        loop = asyncio.get_running_loop()
        if loop is self._loop.loop:
            return await self._here(loop, batch)
        mailbox = self._mailboxes.get(loop) or self._new_mailbox(loop)
        future = loop.create_future()
        call = Call([None] * len(batch), batch, len(batch), _Reply(mailbox, future))
        self._loop.post(partial(self._accept, call))
        try:
            await future
        except BaseException:
            self._forget(call)
            raise
        return call.results

    async def _here(self, loop: asyncio.AbstractEventLoop, batch: Sequence[Prepared]) -> list[Vectors]:
        """A call from the engine's own event loop, which needs no callback to another thread."""
        future = loop.create_future()
        call = Call([None] * len(batch), batch, len(batch), future)
        self._accept(call)
        try:
            await future
        except BaseException:
            self._drop(call)
            raise
        return call.results

    def _new_mailbox(self, loop: asyncio.AbstractEventLoop) -> Mailbox:
        mailbox = Mailbox(loop)
        # Removes closed loops, as programs may run one loop after another.
        self._mailboxes = {known: box for known, box in self._mailboxes.items() if not known.is_closed()}
        self._mailboxes[loop] = mailbox
        return mailbox

    def _forget(self, call: Call) -> None:
        if not call.done.done():
            with suppress(Exception):
                self._loop.post(partial(self._drop, call))


class _Reply:
    """A future of a caller's event loop that is set from the engine's thread."""

    def __init__(self, mailbox: Mailbox, future: asyncio.Future[None]):
        self._mailbox = mailbox
        self._future = future
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, result: None, /) -> None:
        self._settle(lambda: self._future.set_result(None))

    def set_exception(self, error: BaseException, /) -> None:
        self._settle(lambda: self._future.set_exception(error))

    def _settle(self, settle: Callable[[], Any]) -> None:
        self._is_done = True

        def act() -> None:
            # The caller may have been cancelled.
            if not self._future.done():
                settle()

        # The caller's loop may be closed.
        with suppress(RuntimeError):
            self._mailbox.post(act)
