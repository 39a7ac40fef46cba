"""The progress bar of one call, which the caller asks for with `show_progress`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(wanted: bool, total: int | None, unit: str) -> Iterator[Callable[[int], object]]:
    """Yields what is called with the number of inputs done since the last call; does nothing unless a bar is wanted."""
    if not wanted:
        yield lambda number: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, unit=unit, desc="embedding") as bar:
        yield bar.update
