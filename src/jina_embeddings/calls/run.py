"""The path of one call: prepare, run, finish; in parts where there are many inputs.

Parts bound what is prepared at a time, and let some be prepared and finished while others run, so that the device
doesn't wait. Threads and asyncio tasks go the same way.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ..engine.base import Engine
from ..errors import EngineDeadError
from ..types import Partial, Skipped, Usage
from .job import Job
from .prepare import Preparer
from .request import Request

T = TypeVar("T")

PART_TEXTS, PART_IMAGES = 2048, 64
# What is prepared in the event loop itself, since a thread would cost more than it: about a millisecond.
_INLINE_TEXTS, _INLINE_CHARACTERS = 16, 4096


@dataclass(frozen=True, slots=True)
class Result:
    """What a call returns. embeddings: an array, a list, or a `Partial`, as the call asked for."""

    embeddings: Any
    usage: Usage


Outcome: TypeAlias = "Result | BaseException | None"
"""Of one part: its result, its error, or None if it never began."""


def run(request: Request, preparer: Preparer, engine: Engine, advance: Callable[[int], None] | None = None) -> Result:
    """Blocks until all inputs are done. advance: called with the number of inputs of each part that is done.

    Raises the first error in order; parts that have not begun by then never do.
    """
    bounds = part_bounds(request, engine.calls_at_once)
    call_size = len(request.inputs) if len(bounds) > 1 else None

    def encode(first: int, stop: int) -> Result:
        job = preparer.prepare(request, first, stop)
        try:
            outputs = engine.run(job.batch, batch_size=request.batch_size, call_size=call_size)
        except EngineDeadError as error:
            raise job.rescue(error) from error
        result = _finished(job, outputs)
        if advance is not None:
            advance(stop - first)
        return result

    if len(bounds) == 1:
        return encode(*bounds[0])
    outcomes: list[Outcome] = [None] * len(bounds)
    if engine.calls_at_once == 1:
        for number, (first, stop) in enumerate(bounds):
            outcomes[number] = _outcome(encode, first, stop)
            if isinstance(outcomes[number], BaseException):
                break
        return _joined_outcomes(bounds, outcomes)
    with ThreadPoolExecutor(engine.calls_at_once, "jina-embeddings-parts") as pool:
        futures = [pool.submit(_outcome, encode, first, stop) for first, stop in bounds]
        try:
            for number, future in enumerate(futures):
                outcomes[number] = future.result()
                if isinstance(outcomes[number], BaseException):
                    break
        finally:
            for future in futures:
                future.cancel()
        if isinstance(outcomes[number], EngineDeadError):
            # Parts that were under way have something to say of what was done.
            outcomes = [None if future.cancelled() else future.result() for future in futures]
    return _joined_outcomes(bounds, outcomes)


async def arun(request: Request, preparer: Preparer, engine: Engine) -> Result:
    """`run` for asyncio. The event loop prepares and finishes what takes it no longer than a thread would."""
    bounds = part_bounds(request, engine.calls_at_once)
    call_size = len(request.inputs) if len(bounds) > 1 else None
    inline = _is_small(request)

    async def encode(first: int, stop: int) -> Result:
        job = await _away(inline, preparer.prepare, request, first, stop)
        try:
            outputs = await engine.arun(job.batch, batch_size=request.batch_size, call_size=call_size)
        except EngineDeadError as error:
            raise job.rescue(error) from error
        return await _away(inline, _finished, job, outputs)

    if len(bounds) == 1:
        return await encode(*bounds[0])
    outcomes: list[Outcome] = [None] * len(bounds)
    upcoming = iter(enumerate(bounds))
    failed = False

    async def work() -> None:
        nonlocal failed
        for number, (first, stop) in upcoming:
            try:
                outcomes[number] = await encode(first, stop)
            except Exception as error:
                outcomes[number] = error
                failed = True
            if failed:
                return

    workers = [asyncio.ensure_future(work()) for _ in range(engine.calls_at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return _joined_outcomes(bounds, outcomes)


def part_bounds(request: Request, at_once: int) -> list[tuple[int, int]]:
    """(first, stop) of each part: all inputs, or enough of them for a few packs.

    Where several parts are under way at a time, the first ones are small, so that the device soon has something to do.
    """
    num_inputs = len(request.inputs)
    size = PART_TEXTS if all(isinstance(value, str) for value in request.inputs) else PART_IMAGES
    if request.late_chunking or num_inputs <= size:
        return [(0, num_inputs)]
    return list(_bounds(num_inputs, size, size if at_once == 1 else max(1, size // 8)))


def _bounds(num_inputs: int, size: int, width: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first < num_inputs:
        yield first, min(first + width, num_inputs)
        first, width = first + width, min(2 * width, size)


def _finished(job: Job, outputs: Sequence[Any]) -> Result:
    return Result(job.finish(outputs), job.usage)


def _is_small(request: Request) -> bool:
    inputs = request.inputs
    return (
        len(inputs) <= _INLINE_TEXTS
        and all(isinstance(value, str) for value in inputs)
        and request.kind != "image"
        and sum(map(len, inputs)) <= _INLINE_CHARACTERS
    )


async def _away(inline: bool, function: Callable[..., T], *arguments: Any) -> T:
    if inline:
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_threads(), function, *arguments)


@cache
def _threads() -> ThreadPoolExecutor:
    """Apart from asyncio's own: what others do there must not keep answers waiting that are ready."""
    return ThreadPoolExecutor(4, "jina-embeddings-calls")


if hasattr(os, "register_at_fork"):
    # A forked process has the pool, and none of its threads.
    os.register_at_fork(after_in_child=_threads.cache_clear)


def _outcome(encode: Callable[[int, int], Result], first: int, stop: int) -> Outcome:
    try:
        return encode(first, stop)
    except Exception as error:
        return error


def _joined_outcomes(bounds: list[tuple[int, int]], outcomes: Sequence[Outcome]) -> Result:
    """One result of all parts, or the first error in order."""
    results: list[Result] = []
    for outcome in outcomes:
        if isinstance(outcome, EngineDeadError):
            raise _interrupted(outcome.reason, bounds, outcomes) from outcome
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome is not None:
            results.append(outcome)
    usage = sum((result.usage for result in results), Usage())
    return Result(_joined([result.embeddings for result in results]), usage)


def _interrupted(reason: str, bounds: list[tuple[int, int]], outcomes: Sequence[Outcome]) -> EngineDeadError:
    """One error for all parts, of which some are done, some failed, and some never began."""
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
    """One result of several: arrays by rows, lists end to end, and the fields of a `Partial` each for itself."""
    first = results[0]
    if isinstance(first, Partial):
        kept: list[int] = [index for result in results for index in result.kept]
        skipped: list[Skipped] = [one for result in results for one in result.skipped]
        return Partial(_joined([result.embeddings for result in results]), kept, skipped)
    if isinstance(first, np.ndarray):
        return np.concatenate(results)
    return [value for result in results for value in result]
