"""Large calls in parts: some are prepared and finished while others run, so that the device never waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .types import Partial, Skipped

# Three: one is prepared, one runs, one is finished.
_NUM_THREADS = 3
_TEXTS, _IMAGES = 2048, 64


def part_size(inputs: Sequence[Any]) -> int:
    """Inputs of a part: enough for a few packs."""
    return _TEXTS if all(isinstance(value, str) for value in inputs) else _IMAGES


def run_in_parts(inputs: Sequence[Any], size: int, encode: Callable[[int, Sequence[Any]], Any]) -> Any:
    """`encode(first, part)` of every `size` inputs, joined in order; `first` is the index of the part's first input.

    The first error in order is raised, and parts that have not begun by then never do.
    """
    with ThreadPoolExecutor(_NUM_THREADS, "jina-embeddings-parts") as pool:
        futures = [pool.submit(encode, first, inputs[first : first + size]) for first in range(0, len(inputs), size)]
        try:
            return _joined([future.result() for future in futures])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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
