"""Runs one call: prepares its inputs, runs the engine and finishes the result, in parts if there are many inputs.

Parts bound the memory of prepared inputs. While the engine runs one part, others are prepared and finished, so that the
device doesn't wait. `run` is for threads, `arun` for asyncio.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ..engine.base import Engine
from ..errors import EngineDeadError
from ..types import Both, Partial, Skipped, Usage
from .job import Job
from .prepare import Preparer
from .progress import progress_bar
from .request import Request

T = TypeVar("T")

# Most inputs of a part: of texts, and of inputs that aren't all texts.
PART_TEXTS, PART_IMAGES = 2048, 64
# The most inputs of a part if progress is shown, which it is after each part.
_SHOWN_INPUTS = 256
# Calls up to this size are prepared in the event loop itself. It takes about a millisecond, less than using a thread.
_INLINE_TEXTS, _INLINE_CHARACTERS = 16, 4096


@dataclass(frozen=True, slots=True)
class Times:
    """The seconds that a call spent preparing inputs, in the engine (waiting included), and finishing vectors.

    For a call of several parts, they are sums over the parts, which overlap.
    """

    prepare_s: float = 0.0
    run_s: float = 0.0
    finish_s: float = 0.0

    def __add__(self, other: Times) -> Times:
        return Times(self.prepare_s + other.prepare_s, self.run_s + other.run_s, self.finish_s + other.finish_s)


@dataclass(frozen=True, slots=True)
class Result:
    """What a call returns.

    embeddings: an array, a list, or a `Partial`, as the call asked for.
    cut: indices of the texts that were cut.
    """

    embeddings: Any
    usage: Usage
    cut: list[int]
    times: Times = field(default=Times(), compare=False)


Outcome: TypeAlias = "Result | BaseException | None"
"""How one part ended: its result, its error, or None if it never began."""


def run(request: Request, preparer: Preparer, engine: Engine) -> Result:
    """Embeds the inputs of a request, and blocks until all of them are done.

    Raises the error of the first part that failed; parts that haven't begun by then are not run.
    """
    bounds = part_bounds(request, engine.calls_at_once)
    call_size = len(request.inputs) if len(bounds) > 1 else None

    def encode(first: int, stop: int) -> Result:
        began = time.perf_counter()
        job = preparer.prepare(request, first, stop)
        prepared = time.perf_counter()
        try:
            outputs = engine.run(job.batch, batch_size=request.batch_size, call_size=call_size)
        except EngineDeadError as error:
            raise job.rescue(error) from error
        return _finished(job, outputs, began, prepared)

    if len(bounds) == 1:
        with _bar(request) as advance:
            result = encode(*bounds[0])
            advance(len(request.inputs))
        return result
    outcomes: list[Outcome] = [None] * len(bounds)
    if engine.calls_at_once == 1:
        with _bar(request) as advance:
            for number, (first, stop) in enumerate(bounds):
                outcomes[number] = _outcome(encode, first, stop)
                if isinstance(outcomes[number], BaseException):
                    break
                advance(stop - first)
        return _joined_outcomes(bounds, outcomes)
    with _bar(request) as advance, ThreadPoolExecutor(engine.calls_at_once, "jina-embeddings-parts") as pool:
        futures = [pool.submit(_outcome, encode, first, stop) for first, stop in bounds]
        try:
            for number, future in enumerate(futures):
                outcomes[number] = future.result()
                if isinstance(outcomes[number], BaseException):
                    break
                first, stop = bounds[number]
                advance(stop - first)
        finally:
            for future in futures:
                future.cancel()
        if isinstance(outcomes[number], EngineDeadError):
            # Other parts that were running may have finished some of their inputs, which the error reports.
            outcomes = [None if future.cancelled() else future.result() for future in futures]
    return _joined_outcomes(bounds, outcomes)


async def arun(request: Request, preparer: Preparer, engine: Engine) -> Result:
    """`run` for asyncio. Small calls are prepared and finished in the event loop, others in threads."""
    bounds = part_bounds(request, engine.calls_at_once)
    call_size = len(request.inputs) if len(bounds) > 1 else None
    inline = _is_small(request)

    async def encode(first: int, stop: int) -> Result:
        began = time.perf_counter()
        if inline:
            job = await preparer.prepare_soon(request)
        else:
            job = await _run_in_thread(preparer.prepare, request, first, stop)
        prepared = time.perf_counter()
        try:
            outputs = await engine.arun(job.batch, batch_size=request.batch_size, call_size=call_size)
        except EngineDeadError as error:
            raise job.rescue(error) from error
        if inline:
            return _finished(job, outputs, began, prepared)
        return await _run_in_thread(_finished, job, outputs, began, prepared)

    if len(bounds) == 1:
        with _bar(request) as advance:
            result = await encode(*bounds[0])
            advance(len(request.inputs))
        return result
    outcomes: list[Outcome] = [None] * len(bounds)
    upcoming = iter(enumerate(bounds))
    failed = False

    async def work() -> None:
        nonlocal failed
        for number, (first, stop) in upcoming:
            try:
                outcomes[number] = await encode(first, stop)
                advance(stop - first)
            except Exception as error:
                outcomes[number] = error
                failed = True
            if failed:
                return

    with _bar(request) as advance:
        workers = [asyncio.ensure_future(work()) for _ in range(engine.calls_at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return _joined_outcomes(bounds, outcomes)


def part_bounds(request: Request, at_once: int) -> list[tuple[int, int]]:
    """(first, stop) of each part: all inputs in one, or enough for a few packs in each.

    at_once: how many parts run at a time. If it is more than one, the first parts are small, so that the device starts
    early.
    """
    num_inputs = len(request.inputs)
    size = PART_TEXTS if all(isinstance(value, str) for value in request.inputs) else PART_IMAGES
    if request.show_progress:
        size = min(size, _SHOWN_INPUTS)
    if request.late_chunking or num_inputs <= size:
        return [(0, num_inputs)]
    return list(_bounds(num_inputs, size, size if at_once == 1 else max(1, size // 8)))


def _bounds(num_inputs: int, size: int, width: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first < num_inputs:
        yield first, min(first + width, num_inputs)
        first, width = first + width, min(2 * width, size)


def _bar(request: Request) -> AbstractContextManager[Callable[[int], object]]:
    return progress_bar(request.show_progress, len(request.inputs), "input")


def _finished(job: Job, outputs: Sequence[Any], began: float, prepared: float) -> Result:
    ran = time.perf_counter()
    embeddings = job.finish(outputs)
    times = Times(prepared - began, ran - prepared, time.perf_counter() - ran)
    return Result(embeddings, job.usage, job.cut, times)


def _is_small(request: Request) -> bool:
    inputs = request.inputs
    return (
        len(inputs) <= _INLINE_TEXTS
        and all(isinstance(value, str) for value in inputs)
        and request.kind == "text"
        and not request.late_chunking
        and sum(map(len, inputs)) <= _INLINE_CHARACTERS
    )


async def _run_in_thread(function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(_call_threads(), function, *arguments)


@cache
def _call_threads() -> ThreadPoolExecutor:
    """A pool of our own: in asyncio's default pool, slow work of others would hold up finished results."""
    return ThreadPoolExecutor(4, "jina-embeddings-calls")


if hasattr(os, "register_at_fork"):
    # A forked process inherits the pool without its threads.
    os.register_at_fork(after_in_child=_call_threads.cache_clear)


def _outcome(encode: Callable[[int, int], Result], first: int, stop: int) -> Outcome:
    try:
        return encode(first, stop)
    except Exception as error:
        return error


def _joined_outcomes(bounds: list[tuple[int, int]], outcomes: Sequence[Outcome]) -> Result:
    """The joined result of all parts; raises the error of the first part that failed."""
    results: list[Result] = []
    for outcome in outcomes:
        if isinstance(outcome, EngineDeadError):
            raise _interrupted(outcome.reason, bounds, outcomes) from outcome
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome is not None:
            results.append(outcome)
    usage = sum((result.usage for result in results), Usage())
    cut = [index for result in results for index in result.cut]
    times = sum((result.times for result in results), Times())
    return Result(_joined([result.embeddings for result in results]), usage, cut, times)


def _interrupted(reason: str, bounds: list[tuple[int, int]], outcomes: Sequence[Outcome]) -> EngineDeadError:
    """The error of a call whose engine died, with the embeddings of all parts that were done or partly done."""
    left = set(range(bounds[-1][1]))
    done = []
    for (first, stop), outcome in zip(bounds, outcomes, strict=True):
        if isinstance(outcome, EngineDeadError):
            result: Any = outcome.done
        elif isinstance(outcome, Result):
            result = outcome.embeddings
        else:
            continue
        if not isinstance(result, Partial):
            result = Partial(result, list(range(first, stop)), [])
        done.append(result)
        left -= {*result.kept, *(skipped.index for skipped in result.skipped)}
    return EngineDeadError(reason, sorted(left), _joined(done) if done else None)


def _joined(results: list[Any]) -> Any:
    """Concatenates results: the rows of arrays, lists, and each field of a `Both` or a `Partial`."""
    first = results[0]
    if isinstance(first, Partial):
        kept: list[int] = [index for result in results for index in result.kept]
        skipped: list[Skipped] = [one for result in results for one in result.skipped]
        return Partial(_joined([result.embeddings for result in results]), kept, skipped)
    if isinstance(first, Both):
        return Both(*(_joined(list(form)) for form in zip(*results, strict=True)))
    if isinstance(first, np.ndarray):
        return np.concatenate(results)
    return [value for result in results for value in result]
