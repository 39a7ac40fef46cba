"""The rows of a run by number: which source each is in, and reading a stretch of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from .cursors import Cursor
from .records import Fields
from .rows import Failure, Row
from .sources import Source
from .stretch import Stretch


@dataclass(frozen=True)
class Plan:
    """Row 0 is the first of the first source; shard 0 holds rows 0 to `shard_rows`."""

    sources: list[Source]
    shard_rows: int
    fields: Fields = field(default_factory=Fields)

    # Each shard asks for it.
    @cached_property
    def num_rows(self) -> int:
        return sum(source.rows for source in self.sources)

    @cached_property
    def ends(self) -> list[int]:
        """The row after the last of each source."""
        return list(accumulate(source.rows for source in self.sources))

    @property
    def num_shards(self) -> int:
        return -(-self.num_rows // self.shard_rows)

    def span(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the first after it."""
        return shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.num_rows)

    def sources_of(self, shard: int) -> list[Source]:
        """Whose rows are in a shard."""
        start, stop = self.span(shard)
        return self.sources[bisect_right(self.ends, start) : bisect_left(self.ends, stop) + 1]


class PlanReader:
    """Reads rows of a plan by number; a stretch that follows the last one is read on, not searched for."""

    def __init__(self, plan: Plan):
        self._sources, self._fields = plan.sources, plan.fields
        self._ends = plan.ends
        self._index: int | None = None
        self._cursor: Cursor | None = None

    def read(self, start: int, stop: int) -> Iterator[Row | Failure]:
        """Yields one item for each row number. Raises the same as `Cursor.read`."""
        while start < stop:
            index = bisect_right(self._ends, start)
            offset = self._ends[index] - self._sources[index].rows
            last = min(stop, self._ends[index])
            yield from self._at(index).read(start - offset, last - offset)
            start = last

    def texts(self, start: int, stop: int) -> Stretch | None:
        """The rows by columns, where all of them are texts of one table; None where `read` has to look at each."""
        index = bisect_right(self._ends, start)
        offset = self._ends[index] - self._sources[index].rows
        return self._at(index).texts(start - offset, stop - offset) if stop <= self._ends[index] else None

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
        self._cursor = self._index = None

    def _at(self, index: int) -> Cursor:
        if self._cursor is None or index != self._index:
            self.close()
            self._index, self._cursor = index, Cursor(self._sources[index], self._fields)
        return self._cursor
