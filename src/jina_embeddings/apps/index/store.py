"""Rows and vectors in LanceDB: a folder or an address of an object store. Knows no model.

Every change is one commit of LanceDB, so a process that is killed leaves the state before it or after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DependencyError, IndexNotFoundError
from .filters import any_of
from .fingerprint import Fingerprint
from .passage import Passage
from .rows import FINGERPRINT_KEY, PASSAGE_COLUMNS, Placed, schema_of, to_passage, to_table

if TYPE_CHECKING:
    from ...types import FloatArray

TABLE = "passages"
ANN_NUMBERS = 5_000_000
"""An index of more numbers (passages times dimension) gets an approximate index; reading these takes about 10 ms."""

_NUM_PROBES = 50
_COMPARED = 400
"""Candidates of the approximate index whose own vectors are read, at least four for each result."""

_KEEP_VERSIONS = timedelta(minutes=10)
_IN_ONE_CONDITION = 500


class Store:
    """The table of one index. Make it with `create` or `open`."""

    def __init__(self, address: str, table: Any):
        self.address = address
        self._table = table
        self.fingerprint = Fingerprint.from_json(table.schema.metadata[FINGERPRINT_KEY], address)

    @classmethod
    def exists(cls, address: str) -> bool:
        """Whether there is an index. Raises OSError where the address can't be reached."""
        return _open(address) is not None

    @classmethod
    def create(cls, address: str, fingerprint: Fingerprint) -> Store:
        """An empty index."""
        return cls(address, _connect(address).create_table(TABLE, schema=schema_of(fingerprint)))

    @classmethod
    def open(cls, address: str) -> Store:
        """Raises IndexNotFoundError where there is none, IndexMismatchError for another format."""
        table = _open(address)
        if table is None:
            raise IndexNotFoundError(f"there is no index at {address}: make one with jina-embeddings index")
        return cls(address, table)

    def __len__(self) -> int:
        return int(self._table.count_rows())

    @property
    def is_approximate(self) -> bool:
        """Whether searches go through an approximate index."""
        return any(index.columns == ["vector"] for index in self._table.list_indices())

    def states(self) -> dict[str, str]:
        """Path and state of every document in the index; the state is empty where passages are missing."""
        names = ["path", "state", "of"]
        rows = self._table.search().select(names).to_arrow()
        groups = rows.group_by(names).aggregate([([], "count_all")]).to_pylist()
        states: dict[str, str] = {}
        for group in groups:
            whole = group["count_all"] == group["of"] and group["path"] not in states
            states[group["path"]] = group["state"] if whole else ""
        return states

    def vectors(self, contents: Iterable[str]) -> dict[str, FloatArray]:
        """The vectors there are for passages of these contents, wherever they stand."""
        found: dict[str, FloatArray] = {}
        if not len(self):
            return found
        for group in _groups(sorted(set(contents))):
            rows = self._table.search().where(any_of("content", group)).select(["content", "vector"]).to_arrow()
            vectors = _matrix(rows["vector"])
            found.update(zip(rows["content"].to_pylist(), vectors, strict=True))
        return found

    def write(self, placed: Sequence[Placed], *, new: bool = False) -> None:
        """Adds rows; in the same commit, rows of an earlier state of their documents go.

        new: there are no such rows, which saves looking for them.
        """
        rows = to_table(placed, self._table.schema)
        if new:
            self._table.add(rows)
            return
        paths, states = ({getattr(item, name) for item in placed} for name in ("path", "state"))
        stale = f"{any_of('path', sorted(paths))} AND NOT {any_of('state', sorted(states))}"
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.when_not_matched_by_source_delete(stale).execute(rows)

    def remove(self, paths: Iterable[str]) -> None:
        """Removes all passages of these documents."""
        for group in _groups(sorted(paths)):
            self._table.delete(any_of("path", group))

    def passages(self, where: str | None = None, limit: int | None = None) -> list[Passage]:
        """Passages in no particular order."""
        query = self._table.search().select(list(PASSAGE_COLUMNS))
        query = query if where is None else query.where(where)
        return [to_passage(row) for row in query.limit(limit).to_list()]

    def search(
        self, vector: FloatArray, limit: int, where: str | None = None, *, exact: bool = False
    ) -> list[tuple[Passage, float]]:
        """The nearest passages and their cosines, best first; exact=True passes an approximate index by."""
        query = self._table.search(np.asarray(vector, dtype=np.float32), vector_column_name="vector")
        query = query.distance_type("dot").select([*PASSAGE_COLUMNS, "_distance"]).limit(limit)
        if where is not None:
            query = query.where(where, prefilter=True)
        query = query.bypass_vector_index() if exact else _approximate(query, limit)
        # LanceDB's distance of two normalised vectors is 1 - their dot product.
        return [(to_passage(row), 1.0 - float(row["_distance"])) for row in query.to_list()]

    def tidy(self, *, ann_numbers: int = ANN_NUMBERS) -> None:
        """Merges small files, drops old versions, and makes or extends the approximate index where it pays."""
        self._table.optimize(cleanup_older_than=_KEEP_VERSIONS)
        if len(self) * self.fingerprint.dimension > ann_numbers and not self.is_approximate:
            from lancedb.index import IvfRq

            self._table.create_index("vector", config=IvfRq(distance_type="dot"))


def _connect(address: str) -> Any:
    try:
        import lancedb
    except ImportError:
        raise DependencyError("an index needs LanceDB and its like: pip install 'jina-embeddings-vllm[apps]'") from None
    # Zero: every search sees what other processes have written.
    return lancedb.connect(address, read_consistency_interval=timedelta(0))


def _open(address: str) -> Any:
    """The table, or None where there is none or its making was cut short."""
    # Connecting to a folder makes it.
    if "://" not in address and not os.path.isdir(address):
        return None
    try:
        return _connect(address).open_table(TABLE)
    except ValueError as error:
        if "was not found" in str(error):
            return None
        raise


def _approximate(query: Any, limit: int) -> Any:
    return query.nprobes(_NUM_PROBES).refine_factor(max(4, _COMPARED // limit))


def _matrix(column: Any) -> FloatArray:
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float32).reshape(len(column), column.type.list_size)


def _groups(values: list[str]) -> list[list[str]]:
    return [values[start : start + _IN_ONE_CONDITION] for start in range(0, len(values), _IN_ONE_CONDITION)]
