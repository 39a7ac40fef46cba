"""Batches shared by the calls of many threads and asyncio tasks: one thread runs them, one batch at a time."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ..errors import EngineClosedError
from ..types import Prepared
from .batching import kind_of, plan_batches

if TYPE_CHECKING:
    from ..types import FloatArray, Vectors

Forward: TypeAlias = "Callable[[Sequence[Prepared]], list[Vectors]]"


@dataclass(eq=False, slots=True)
class _Call:
    """One call to `SharedBatches.submit`.

    plan: the batches that haven't run yet, as indices into `inputs`.
    arrival: the number of the call, counted over all calls.
    """

    inputs: Sequence[Prepared]
    plan: deque[list[int]]
    batch_size: int | None
    arrival: int
    future: Future[list[Vectors]] = field(default_factory=Future)
    results: list[FloatArray | None] = field(default_factory=list)

    def upcoming(self) -> list[Prepared]:
        return [self.inputs[index] for index in self.plan[0]]


class SharedBatches:
    """The queue of all calls' batches, and the thread that runs them.

    Each call is planned by itself. While other calls wait, batches of one kind are joined if that saves time. A call
    that has had no batch yet goes before those that have had one, so a small call waits for the batch that is running,
    but for no second one of a large call; large calls get a batch in turn. Batches of a call whose future is cancelled
    don't run any more.

    Args:
        forward: runs one batch of one kind.
        max_tokens: the largest number of tokens in a batch, padding included.
        forward_tokens: the fixed cost of a forward, in tokens. Batches are joined if they save a forward and add fewer
            tokens of padding than that.
        name: the thread's name.
    """

    def __init__(self, forward: Forward, *, max_tokens: int, forward_tokens: int, name: str):
        self._forward = forward
        self._max_tokens = max_tokens
        self._forward_tokens = forward_tokens
        self._lock = threading.Lock()
        self._fresh: deque[_Call] = deque()
        self._begun: deque[_Call] = deque()
        self._num_arrived = 0
        # Fresh calls whose arrival is up to this number go before the begun ones.
        self._fresh_first_until = 0
        self._is_running = False
        self._closed = False
        self._pid = os.getpid()
        # An executor's thread ends when the executor is collected, and is joined at interpreter exit.
        self._thread = ThreadPoolExecutor(1, name)

    def submit(self, inputs: Sequence[Prepared], batch_size: int | None) -> Future[list[Vectors]]:
        """A future of the vectors of the inputs, in order. Cancelling it removes the batches that haven't run.

        Raises:
            EngineClosedError: `close` was called before.
        """
        plan = deque(plan_batches(inputs, max_tokens=self._max_tokens, batch_size=batch_size))
        with self._lock:
            if self._closed:
                raise _closed()
            self._num_arrived += 1
            call = _Call(inputs, plan, batch_size, self._num_arrived, results=[None] * len(inputs))
            if not plan:
                call.future.set_result([])
                return call.future
            self._fresh.append(call)
            if not self._is_running:
                self._is_running = True
                self._thread.submit(self._run)
        return call.future

    def do(self, work: Callable[[], None]) -> None:
        """Runs `work` in the thread of the batches, and returns when it is done."""
        self._thread.submit(work).result()

    def close(self) -> None:
        """Fails waiting calls with EngineClosedError, and returns when the running batch is done."""
        if os.getpid() != self._pid:
            # In a forked process the thread doesn't exist, and the lock may be locked for ever.
            return
        with self._lock:
            self._closed = True
            left = [*self._fresh, *self._begun]
            self._fresh.clear()
            self._begun.clear()
        for call in left:
            _settle(call.future, _closed())
        self._thread.shutdown(wait=True)

    def _run(self) -> None:
        while True:
            with self._lock:
                calls = self._next()
                if not calls:
                    self._is_running = False
                    return
            self._run_batch(calls)

    def _next(self) -> list[_Call]:
        """The calls whose next planned batches are joined and run now; the calls are left in their queues."""
        self._fresh = deque(call for call in self._fresh if not call.future.done())
        self._begun = deque(call for call in self._begun if not call.future.done())
        # Fresh calls go first if they arrived before the last batch of a begun call ended. Otherwise it is a begun
        # call's turn, so that a stream of new calls can't hold it up for ever.
        if self._fresh and (not self._begun or self._fresh[0].arrival <= self._fresh_first_until):
            waiting = [*self._fresh, *self._begun]
        elif self._begun:
            waiting = [*self._begun, *self._fresh]
        else:
            return []
        chosen = waiting[:1]
        batch = waiting[0].upcoming()
        for call in waiting[1:]:
            more = call.upcoming()
            if self._pays(batch, more) and self._is_allowed([*chosen, call], len(batch) + len(more)):
                chosen.append(call)
                batch += more
        return chosen

    def _pays(self, batch: list[Prepared], more: list[Prepared]) -> bool:
        """Whether one forward of both batches is possible and faster than two."""
        if kind_of(batch[0]) != kind_of(more[0]):
            return False
        width, more_width = _longest(batch), _longest(more)
        together = (len(batch) + len(more)) * max(width, more_width)
        apart = len(batch) * width + len(more) * more_width
        return together <= self._max_tokens and together <= apart + self._forward_tokens

    @staticmethod
    def _is_allowed(calls: list[_Call], num_inputs: int) -> bool:
        return all(call.batch_size is None or num_inputs <= call.batch_size for call in calls)

    def _run_batch(self, calls: list[_Call]) -> None:
        batch = [prepared for call in calls for prepared in call.upcoming()]
        try:
            vectors = self._forward(batch)
        except Exception as error:
            if len(calls) == 1:
                self._fail(calls[0], error)
                return
            # An input of one call must not fail the other calls.
            for call in calls:
                if not call.future.done():
                    self._run_batch([call])
            return
        finished = []
        first = 0
        with self._lock:
            for call in calls:
                indices = call.plan.popleft()
                for index, vector in zip(indices, vectors[first : first + len(indices)], strict=True):
                    call.results[index] = vector
                first += len(indices)
                self._take_out(call)
                if not call.plan:
                    finished.append(call)
                elif not self._closed:
                    if not self._begun:
                        self._fresh_first_until = self._num_arrived
                    self._begun.append(call)
        for call in finished:
            _settle(call.future, call.results)  # type: ignore[arg-type]

    def _fail(self, call: _Call, error: BaseException) -> None:
        with self._lock:
            self._take_out(call)
        _settle(call.future, error)

    def _take_out(self, call: _Call) -> None:
        for waiting in (self._fresh, self._begun):
            if call in waiting:
                waiting.remove(call)
                if waiting is self._begun:
                    self._fresh_first_until = self._num_arrived


def _longest(batch: Sequence[Prepared]) -> int:
    return max(prepared.num_tokens for prepared in batch)


def _settle(future: Future[list[Vectors]], result: list[Vectors] | BaseException) -> None:
    # The caller may have cancelled the future in the meantime.
    with suppress(InvalidStateError):
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def _closed() -> EngineClosedError:
    return EngineClosedError("the engine is closed: make a new JinaEmbeddings")
