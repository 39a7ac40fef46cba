"""Prepares small calls of an event loop together: all of one loop iteration share one call of the tokenizer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..inputs.tokens import First
    from .job import Job
    from .request import Request

# Most characters that are tokenised in one iteration of the loop, which takes a few milliseconds.
_MAX_CHARACTERS = 16_384


class Prepares(Protocol):
    def tokenize(self, requests: Sequence[Request]) -> dict[str, First]: ...
    def prepare(
        self, request: Request, first: int = 0, stop: int | None = None, known: Mapping[str, First] | None = None
    ) -> Job: ...


class PreparedTogether:
    """The waiting small calls of one model, by event loop. Thread-safe, as each loop changes its own list only."""

    def __init__(self, preparer: Prepares):
        self._preparer = preparer
        self._waiting: dict[asyncio.AbstractEventLoop, list[tuple[Request, asyncio.Future[Job]]]] = {}

    async def prepare(self, request: Request) -> Job:
        """Prepares a call of a few texts in the next iteration of the event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Job] = loop.create_future()
        waiting = self._waiting.get(loop)
        if waiting is None:
            waiting = self._waiting[loop] = []
            loop.call_soon(self._turn, loop)
        waiting.append((request, future))
        return await future

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting.pop(loop)
        taken, num_characters = 0, 0
        while taken < len(waiting) and num_characters < _MAX_CHARACTERS:
            num_characters += sum(map(len, waiting[taken][0].inputs))
            taken += 1
        if taken < len(waiting):
            self._waiting[loop] = waiting[taken:]
            loop.call_soon(self._turn, loop)
        # Calls whose caller was cancelled are left out.
        present = [(request, future) for request, future in waiting[:taken] if not future.done()]
        try:
            known = self._preparer.tokenize([request for request, _ in present])
        except Exception as error:
            for _, future in present:
                future.set_exception(error)
            return
        for request, future in present:
            try:
                future.set_result(self._preparer.prepare(request, known=known))
            except Exception as error:
                future.set_exception(error)
