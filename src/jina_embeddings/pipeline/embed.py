"""Bulk work: rows are read, embedded and written as a stream, with a bounded number of them in memory.

readers -> embed_rows -> writers
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..types import Skipped
from .rows import Failure, Item, LeftOut, Row

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings


@dataclass(frozen=True, slots=True)
class Embedded:
    """A row and its vector, or vectors. cut: its text had more tokens than were allowed."""

    row: Row
    embedding: Any
    cut: bool = False


def embed_rows(
    model: JinaEmbeddings, items: Iterable[Item], *, chunk_size: int | None = None, **options: Any
) -> Iterator[Embedded | Failure | LeftOut]:
    """One result for each item, in order; a row that the model can't take becomes a `Failure`.

    Args:
        chunk_size: rows that the model is given together, as many as suit its engine if left
            out; at most two such chunks are in memory.
        options: those of `JinaEmbeddings.stream`, without `on_error` and `on_cut`.
    """
    # What was read and not answered yet. The stream reads in the thread that asks it for results: no lock.
    waiting: deque[Item] = deque()

    def inputs() -> Iterator[dict[str, Any]]:
        for item in items:
            waiting.append(item)
            if isinstance(item, Row):
                yield item.input

    cut: set[int] = set()
    results = model.stream(inputs(), chunk_size=chunk_size, on_error="skip", on_cut=cut.add, **options)
    for index, result in enumerate(results):
        while not isinstance(item := waiting.popleft(), Row):
            yield item
        yield (
            Failure(item.id, result.error, item.kept, item.where)
            if isinstance(result, Skipped)
            else Embedded(item, result, index in cut)
        )
    for item in waiting:
        assert not isinstance(item, Row)
        yield item
