"""Rows that are read and written together, by columns: a chunk of a bulk run has no object for each of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .records import Fields
from .rows import Failure, Row


@dataclass(slots=True)
class Stretch:
    """Consecutive rows.

    ids, kinds, inputs: of each row, as `Row` has them; kind and input of one that was rejected are None.
    kept: each column that is written beside the vectors, as a list or an Arrow array.
    errors: why rows were rejected, by their place in the stretch.
    """

    ids: list[str]
    kinds: list[str | None]
    inputs: list[Any]
    kept: dict[str, Any]
    errors: dict[int, Exception] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, items: Sequence[Row | Failure], keep: Iterable[str]) -> Stretch:
        """keep: names of the columns that are kept."""
        return cls(
            [item.id for item in items],
            [item.kind if isinstance(item, Row) else None for item in items],
            [item.input if isinstance(item, Row) else None for item in items],
            {name: [item.kept.get(name) for item in items] for name in keep},
            {place: item.error for place, item in enumerate(items) if isinstance(item, Failure)},
        )

    def reject(self, place: int, error: Exception) -> None:
        self.kinds[place] = self.inputs[place] = None
        self.errors[place] = error

    @property
    def good(self) -> list[int]:
        """Places of the rows that were not rejected."""
        return [place for place in range(len(self)) if place not in self.errors] if self.errors else [*range(len(self))]


def texts_of(table: Any, path: str, first: int, fields: Fields) -> Stretch | None:
    """The rows of a table if each has a text and no image; None for others, which are looked at one by one.

    path, first: file of the rows and the number of the first, from 1; the ids of rows without one.
    """
    names = table.column_names
    if fields.text not in names or not _is_filled(text := table[fields.text]):
        return None
    if fields.image in names and table[fields.image].null_count < len(table):
        return None
    if fields.id not in names:
        ids = [f"{path}:{number}" for number in range(first, first + len(table))]
    elif pa.types.is_integer((own := table[fields.id]).type) and not own.null_count:
        ids = own.cast(pa.string()).to_pylist()
    elif _is_filled(own):
        ids = own.to_pylist()
    else:
        return None
    kept = {name: table[name].combine_chunks() if name in names else [None] * len(table) for name in fields.keep}
    return Stretch(ids, ["text"] * len(table), text.to_pylist(), kept)


def _is_filled(column: Any) -> bool:
    """Whether it has strings only, none of them empty."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) or column.null_count:
        return False
    return len(column) > 0 and pc.min(pc.binary_length(column)).as_py() > 0
