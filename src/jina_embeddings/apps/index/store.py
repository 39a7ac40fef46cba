"""Stores rows and vectors in LanceDB, in a folder or an object store, without a model.

Every change is one commit of LanceDB: if the process is killed, the table has the state before or after it. Creating an
index takes two commits; if the second is missing, the next writer makes it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ...errors import DependencyError, IndexMismatchError, IndexNotFoundError
from ...pipeline.columns import has_all_numbers, matrix_of
from ...pipeline.lance_table import check_address
from . import approximate, merging, multivectors, words
from .address import is_remote, reaches, reaching
from .approximate import ANN_NUMBERS
from .filters import any_of
from .fingerprint import Fingerprint
from .multivectors import from_column
from .passage import INCOMPLETE, Hit, Passage, State
from .paths import root_of
from .rows import FINGERPRINT_KEY, HIT_COLUMNS, PASSAGE_COLUMNS, Placed, schema_of, to_hit, to_passage, to_table

if TYPE_CHECKING:
    from ...types import FloatArray

TABLE = "passages"

_KEEP_VERSIONS = timedelta(minutes=10)
_IN_ONE_CONDITION = 500
_BATCH_ROWS = 256
"""Rows whose multi-vectors are read at once: 50 MB of pages."""


class Store:
    """The table of one index; `create` and `open` return one."""

    def __init__(self, address: str, table: Any):
        self.address = address
        self.root = root_of(address)
        self._table = table
        self.fingerprint = Fingerprint.from_json(table.schema.metadata[FINGERPRINT_KEY], address)

    @classmethod
    def exists(cls, address: str) -> bool:
        """Returns whether there is an index. Raises IndexUnreachableError if the address can't be reached."""
        return _open(address) is not None

    @classmethod
    def create(cls, address: str, fingerprint: Fingerprint) -> Store:
        """Creates an empty index."""
        with reaching(address):
            store = cls(address, _connect(address).create_table(TABLE, schema=schema_of(fingerprint)))
            store.index_words()
        return store

    @classmethod
    def open(cls, address: str) -> Store:
        """Opens an index. Raises IndexNotFoundError if there is none, IndexMismatchError if its format is another."""
        table = _open(address)
        if table is None:
            raise IndexNotFoundError(f"there is no index at {address}: make one with jina-embeddings index")
        return cls(address, table)

    def __len__(self) -> int:
        return int(self._table.count_rows())

    @property
    @reaches
    def has_words(self) -> bool:
        """Whether the table has the column of words; the first format had none."""
        return words.COLUMN in self._table.schema.names

    @property
    def indexes_words(self) -> bool:
        """Whether there is a full-text index; without one, LanceDB compares words exactly as they are written."""
        return any(index.columns == [words.COLUMN] for index in self._table.list_indices())

    @property
    def is_approximate(self) -> bool:
        """Whether searches go through an approximate index."""
        return approximate.of_table(self._table) is not None

    @reaches
    def states(self) -> dict[str, str]:
        """Returns the state of every document by its path; one with missing passages is marked as incomplete."""
        names = ["path", "state", "of"]
        rows = self._table.search().select(names).to_arrow()
        groups = rows.group_by(names).aggregate([([], "count_all")]).to_pylist()
        states: dict[str, str] = {}
        for group in groups:
            whole = group["count_all"] == group["of"] and group["path"] not in states
            state = State.parse(group["state"])
            states[group["path"]] = group["state"] if whole else str(replace(state, content=INCOMPLETE))
        return states

    @reaches
    def vectors(self, contents: Iterable[str]) -> dict[str, tuple[FloatArray, FloatArray | None]]:
        """Returns vector and multi-vector of each of these contents that any passage in the index has."""
        found: dict[str, tuple[FloatArray, FloatArray | None]] = {}
        if not len(self):
            return found
        names = ["content", "vector", *([multivectors.COLUMN] if self.fingerprint.multivector else [])]
        for group in _groups(sorted(set(contents))):
            rows = self._table.search().where(any_of("content", group)).select(names).to_arrow()
            vectors = matrix_of(rows["vector"])
            tokens = from_column(rows[multivectors.COLUMN]) if self.fingerprint.multivector else [None] * len(vectors)
            whole = has_all_numbers(vectors)
            for row, content in enumerate(rows["content"].to_pylist()):
                # A passage without a whole vector is embedded again.
                if whole[row]:
                    found[content] = vectors[row], tokens[row]
        return found

    @reaches
    def write(self, placed: Sequence[Placed], *, new: bool = False) -> None:
        """Writes rows, and removes in the same commit those of an earlier state of their documents.

        new: the documents have no rows yet, so none are searched for.
        """
        rows = to_table(placed, self._table.schema, self.fingerprint, self.root)
        if new:
            self._table.add(rows)
            return
        paths, states = ({getattr(item, name) for item in placed} for name in ("path", "state"))
        stale = f"{any_of('path', sorted(paths))} AND NOT {any_of('state', sorted(states))}"
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.when_not_matched_by_source_delete(stale).execute(rows)

    @reaches
    def remove(self, paths: Iterable[str]) -> None:
        """Removes all passages of these documents."""
        for group in _groups(sorted(paths)):
            self._table.delete(any_of("path", group))

    @reaches
    def remove_where(self, condition: str) -> int:
        """Removes the passages that meet a condition; returns their number."""
        num_before = len(self)
        self._table.delete(condition)
        return num_before - len(self)

    @reaches
    def passages(self, where: str | None = None, limit: int | None = None) -> list[Passage]:
        """Returns passages in no particular order."""
        query = self._table.search().select(list(PASSAGE_COLUMNS))
        query = query if where is None else query.where(where)
        return [to_passage(row, self.root) for row in query.limit(limit).to_list()]

    @reaches
    def order(self) -> pa.Table:
        """`id`, `content`, `state` and `_rowid` of all rows, by path and position."""
        columns = ["id", "content", "state", "path", "position"]
        rows = self._table.search().select(columns).with_row_id(True).to_arrow()
        return rows.sort_by([("path", "ascending"), ("position", "ascending")]).drop_columns(["path", "position"])

    @reaches
    def rows(self, row_ids: list[int]) -> pa.Table:
        """Whole rows by their `_rowid`, in this order."""
        rows = self._table.take_row_ids(row_ids).with_row_id().to_arrow()
        place = {row_id: place for place, row_id in enumerate(rows["_rowid"].to_pylist())}
        return rows.take([place[row_id] for row_id in row_ids])

    def sample(self, count: int, seed: int) -> list[tuple[str, FloatArray]]:
        """Draws passages at random; returns their ids and vectors (dimension,)."""
        places = random.Random(seed).sample(range(len(self)), min(count, len(self)))
        rows = self._table.take_offsets(places).select(["id", "vector"]).to_arrow()
        return list(zip(rows["id"].to_pylist(), matrix_of(rows["vector"]), strict=True))

    @reaches
    def search(self, vector: FloatArray, limit: int, where: str | None = None, *, exact: bool = False) -> list[Hit]:
        """Returns the nearest passages by cosine, best first. exact: don't use the approximate index."""
        query = self._table.search(np.asarray(vector, dtype=np.float32), vector_column_name="vector")
        query = query.distance_type("dot").select([*HIT_COLUMNS, "_distance"]).with_row_id(True).limit(limit)
        if where is not None:
            query = query.where(where, prefilter=True)
        if exact or (where is not None and self._few_match(where)):
            query = query.bypass_vector_index()
        else:
            probes = approximate.num_probes(self.fingerprint.dimension)
            # With a filter, LanceDB reads more partitions until it has enough results.
            query = query.minimum_nprobes(probes).maximum_nprobes(probes if where is None else 0)
            query = query.refine_factor(approximate.refine_factor(limit))
        # LanceDB's distance of two normalised vectors is 1 - their dot product.
        return [to_hit(row, 1.0 - float(row["_distance"]), self.root) for row in query.to_list()]

    @reaches
    def search_words(self, text: str, vector: FloatArray, limit: int, where: str | None = None) -> list[Hit]:
        """Returns the passages that have words of a text, ranked by BM25, best first.

        vector: that of the text, for the cosines of the hits.
        """
        if not self.has_words:
            raise IndexMismatchError(f"{self.address} was made before words could be searched: make the index again")
        from lancedb.query import MatchQuery

        # As a string, one in quotes would be a phrase, for which the index has no positions.
        asked = MatchQuery(words.searchable(words.cut(text)), words.COLUMN)
        query = self._table.search(asked, query_type="fts")
        query = query.select([*HIT_COLUMNS, "vector", "_score"]).with_row_id(True).limit(limit)
        if where is not None:
            query = query.where(where, prefilter=True)
        return [replace(hit, score=row["_score"]) for hit, row in _hits(query, vector, self.root)]

    @reaches
    def search_multivectors(
        self, tokens: FloatArray, vector: FloatArray, limit: int, where: str | None = None
    ) -> list[Hit]:
        """Returns the best passages by MaxSim of all stored multi-vectors, best first.

        tokens: (tokens, dim). vector: that of the question, for the cosines of the hits.
        """
        if not self.fingerprint.multivector:
            raise IndexMismatchError(f"{self.address} keeps no multi-vectors: make it again with multivector='float16'")
        scores: dict[str, float] = {}
        query = self._table.search().select(["id", multivectors.COLUMN])
        # LanceDB's own comparison takes ten times as long, and building its index over them grows with their square.
        for batch in (query if where is None else query.where(where)).to_batches(_BATCH_ROWS):
            scored = multivectors.score(tokens, batch[multivectors.COLUMN])
            scores.update(zip(batch["id"].to_pylist(), map(float, scored), strict=True))
        hits: list[Hit] = []
        for group in _groups(sorted(scores, key=lambda name: -scores[name])[:limit]):
            query = self._table.search().where(any_of("id", group)).select([*HIT_COLUMNS, "vector"])
            found = _hits(query.with_row_id(True).limit(len(group)), vector, self.root)
            hits += [replace(hit, score=scores[hit.id]) for hit, _ in found]
        return sorted(hits, key=lambda hit: -hit.score)

    @reaches
    def maxsim(self, tokens: FloatArray, hits: Sequence[Hit]) -> dict[str, float]:
        """Returns MaxSim of tokens (tokens, dim) and the stored multi-vector of each hit, by its id."""
        columns = ["id", multivectors.COLUMN]
        scores: dict[str, float] = {}

        def add(rows: pa.Table) -> None:
            scored = multivectors.score(tokens, rows[multivectors.COLUMN])
            scores.update(zip(rows["id"].to_pylist(), map(float, scored), strict=True))

        row_ids = [hit.row_id for hit in hits if hit.row_id is not None]
        if row_ids:
            add(self._table.take_row_ids(row_ids).select(columns).to_arrow())
        # Another process may have merged files since the hits were found, which moves rows. LanceDB leaves those out.
        moved = [hit.id for hit in hits if hit.id not in scores]
        for group in _groups(moved):
            add(self._table.search().where(any_of("id", group)).select(columns).limit(len(group)).to_arrow())
        return scores

    @reaches
    def index_words(self) -> None:
        """Makes the full-text index if it is missing, as it is after a kill between the two commits of `create`."""
        if not self.has_words or self.indexes_words:
            return
        from lancedb.index import FTS

        # ICU also finds words of languages that put no spaces between them.
        config = FTS(base_tokenizer="icu", language="English", stem=True, remove_stop_words=False)
        self._table.create_index(words.COLUMN, config=config)

    @reaches
    def tidy(self, *, ann_numbers: int = ANN_NUMBERS) -> None:
        """Merges files, removes old versions and extends the indices where that is due, and builds missing indices."""
        if merging.is_due(self._table):
            self._table.optimize(cleanup_older_than=_KEEP_VERSIONS)
        index = approximate.of_table(self._table)
        if index.is_outdated if index else len(self) * self.fingerprint.dimension > ann_numbers:
            approximate.build(self._table)

    @reaches
    def remove_old_versions(self) -> None:
        """Removes the files that the last merge has replaced, unless other rows have been written since."""
        if merging.is_merged(self._table):
            self._table.optimize(cleanup_older_than=_KEEP_VERSIONS)

    @reaches
    def describe(self) -> dict[str, Any]:
        """See `Index.describe`."""
        index = approximate.of_table(self._table)
        num_rows, dimension = len(self), self.fingerprint.dimension
        dense: dict[str, Any] = {"search": "exact"}
        if index is not None:
            dense = {
                "search": "approximate",
                "bits": index.num_bits,
                "reads": "all" if approximate.reads_all(num_rows, dimension) else "the nearest partitions",
                "unindexed": index.unindexed,
                "index_size_bytes": index.size_bytes,
            }
        made_with = self.fingerprint
        return {
            "address": self.address,
            "kind": made_with.kind,
            "passages": num_rows,
            "documents": len(self.states()),
            "model": made_with.model,
            "revision": made_with.revision,
            "task": made_with.task,
            "dimension": dimension,
            "dense": dense,
            "words": self.has_words,
            "multivector": made_with.multivector,
            "token_pooling": made_with.token_pooling,
            "size_bytes": _folder_bytes(self.address),
        }

    def _few_match(self, where: str) -> bool:
        """Whether a filter leaves so few passages that a search which skips partitions could miss them."""
        dimension = self.fingerprint.dimension
        num_rows = len(self)
        if approximate.reads_all(num_rows, dimension):
            return False
        return int(self._table.count_rows(where)) * dimension <= ANN_NUMBERS


def _connect(address: str) -> Any:
    try:
        import lancedb
    except ImportError:
        raise DependencyError("an index needs LanceDB and its like: pip install 'jina-embeddings-vllm[apps]'") from None
    check_address(address)
    # Zero makes every search see what other processes have written.
    return lancedb.connect(address, read_consistency_interval=timedelta(0))


def _open(address: str) -> Any:
    """Opens the table; None if there is none."""
    # Connecting would create the folder.
    if not is_remote(address) and not os.path.isdir(address):
        return None
    with reaching(address):
        try:
            return _connect(address).open_table(TABLE)
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise


def _hits(query: Any, vector: FloatArray, root: str | None) -> list[tuple[Hit, dict[str, Any]]]:
    """Returns the hits of a query, with their cosines to a vector, and the row of each."""
    rows = query.to_arrow()
    if not len(rows):
        return []
    cosines = np.nan_to_num(matrix_of(rows["vector"])) @ np.asarray(vector, dtype=np.float32)
    plain = rows.drop_columns("vector").to_pylist()
    return [(to_hit(row, float(cosine), root), row) for row, cosine in zip(plain, cosines, strict=True)]


def _folder_bytes(address: str) -> int | None:
    """None for an object store."""
    if is_remote(address):
        return None
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(address) for name in names)


def _groups(values: list[str]) -> list[list[str]]:
    return [values[start : start + _IN_ONE_CONDITION] for start in range(0, len(values), _IN_ONE_CONDITION)]
