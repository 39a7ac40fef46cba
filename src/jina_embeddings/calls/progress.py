"""The progress bar of one call, which the caller asks for with `show_progress`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

Advance: TypeAlias = "Callable[[int], object]"
"""Called with the number of inputs done since the last call."""


def progress_bar(wanted: bool, total: int | None, unit: str) -> AbstractContextManager[Advance]:
    """A bar on standard error, or nothing if it isn't wanted."""
    return _shown(total, unit) if wanted else _HIDDEN


# Made once, as calls of one text are counted in microseconds.
_HIDDEN: AbstractContextManager[Advance] = nullcontext(lambda number: None)


@contextmanager
def _shown(total: int | None, unit: str) -> Iterator[Advance]:
    from tqdm.auto import tqdm

    with tqdm(total=total, unit=unit, desc="embedding") as bar:
        yield bar.update
