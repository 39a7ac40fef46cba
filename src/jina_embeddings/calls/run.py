"""Large calls in parts: some are prepared and finished while others run, so that the device never waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ..errors import EngineDeadError
from ..types import Partial, Skipped

_TEXTS, _IMAGES = 2048, 64


def part_size(inputs: Sequence[Any]) -> int:
    """Inputs of a part: enough for a few packs."""
    return _TEXTS if all(isinstance(value, str) for value in inputs) else _IMAGES


def part_bounds(num_inputs: int, size: int) -> Iterator[tuple[int, int]]:
    """(first, stop) of each part; the first parts are small, so that the device soon has something to do."""
    first, width = 0, max(1, size // 8)
    while first < num_inputs:
        yield first, min(first + width, num_inputs)
        first, width = first + width, min(2 * width, size)


def run_in_parts(inputs: Sequence[Any], size: int, encode: Callable[[int, Sequence[Any]], Any], at_once: int) -> Any:
    """`encode(first, part)` of all parts, joined in order; `first` is the index of the part's first input.

    size: inputs of a part, at most.
    at_once: parts that are under way at a time.
    The first error in order is raised, and parts that have not begun by then never do.
    """
    bounds = list(part_bounds(len(inputs), size))
    with ThreadPoolExecutor(at_once, "jina-embeddings-parts") as pool:
        futures = [pool.submit(encode, first, inputs[first:stop]) for first, stop in bounds]
        try:
            return _joined([future.result() for future in futures])
        except BaseException as error:
            pool.shutdown(wait=isinstance(error, EngineDeadError), cancel_futures=True)
            if isinstance(error, EngineDeadError):
                raise _interrupted(error.reason, bounds, futures) from error
            raise


def _interrupted(reason: str, bounds: list[tuple[int, int]], futures: list[Future[Any]]) -> EngineDeadError:
    """One error for all parts, of which some are done, some failed, and some never began."""
    left = set(range(bounds[-1][1]))
    done = []
    for (first, stop), future in zip(bounds, futures, strict=True):
        if future.cancelled():
            continue
        error = future.exception()
        result = error.done if isinstance(error, EngineDeadError) else None if error else future.result()
        if result is None:
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
