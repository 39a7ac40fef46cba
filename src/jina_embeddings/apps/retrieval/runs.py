"""The rows of a bulk run as documents of an index, with the vectors that they have."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...errors import IndexMismatchError, InputError
from ...pipeline.manifest import Manifest
from ...pipeline.provenance import differences, made_by
from ...pipeline.reading import RunRows, manifest_of, read_run
from ...pipeline.rows import Failure
from ...vectors.token_pooling import pool_tokens
from ..index.export import NUMBERS
from ..index.multivectors import from_lists
from ..index.passage import Document, Passage, State
from ..index.paths import renamed

if TYPE_CHECKING:
    from ...types import FloatArray, MultivectorFormat
    from ..index import Index

_TEXT = "text"
_OWN = {"row", "id", "kind", "error", "error_code", _TEXT}
_FORMATS: dict[str, MultivectorFormat] = {"float16": "float16", "int8": "int8", "ubinary": "binary"}
_DECODED_ROWS = 64


@dataclass(frozen=True, slots=True)
class RunDocuments:
    """A finished run. The export of an index has its documents; of any other, each shard is one.

    A passage of a shard has the row's text where the run kept a field `text` (`--keep text`), else its id; what else
    was kept is its metadata.
    """

    folder: str
    manifest: Manifest

    @classmethod
    def of(cls, folder: str) -> RunDocuments:
        """Raises as `manifest_of` does."""
        return cls(folder, manifest_of(folder))

    @property
    def index(self) -> dict[str, Any] | None:
        """`kind`, `token_pooling` and `root` of the index that was exported; None for any other run."""
        return self.manifest.made_by.get("index")

    @property
    def multivector(self) -> MultivectorFormat | None:
        """The number format of the multi-vectors of the index that was exported."""
        columns = [column.numbers for column in self.manifest.form.columns.values() if column.multivector]
        return _FORMATS[columns[0]] if self.index is not None and columns else None

    def documents(self, index: Index) -> Iterator[Document]:
        """Raises IndexMismatchError where vectors of the index would be others; RunError, InputError."""
        column = self._check(index)
        shards = read_run(self.folder, column)
        if self.index is not None:
            yield from self._of_index(shards, index)
            return
        for rows in shards:
            path = os.path.join(self.folder, f"shard-{rows.shard:06d}")
            yield Document(path, f"{self.manifest.run} {rows.shard}", partial(_passages, path, rows, index))

    def _check(self, index: Index) -> str | None:
        """The column of multi-vectors that the index takes."""
        made, fingerprint = self.manifest.made_by, index.store.fingerprint
        wrong = list(differences(made, made_by(index.model, self.manifest.form)))
        for name, here in (("task", fingerprint.task), ("dimension", fingerprint.dimension)):
            if made[name] != here:
                wrong.append(f"{name} is {made[name]} in the run and {here} in the index")
        column = None
        if fingerprint.multivector:
            wanted = (NUMBERS[fingerprint.multivector], "float16", "float")
            columns = self.manifest.form.columns.items()
            found = {form.numbers: name for name, form in columns if form.multivector and form.numbers in wanted}
            column = next((found[numbers] for numbers in wanted if numbers in found), None)
            if column is None:
                wrong.append(
                    f"the index keeps multi-vectors in {fingerprint.multivector}, and the run has none as precise"
                )
            if self.index and self.index["token_pooling"] not in (1, fingerprint.token_pooling):
                wrong.append(f"the run's multi-vectors were pooled by {self.index['token_pooling']}")
        if wrong:
            raise IndexMismatchError(f"the vectors of {self.folder} don't fit the index: {'; '.join(wrong)}")
        return column

    def _of_index(self, shards: Iterator[RunRows], index: Index) -> Iterator[Document]:
        assert self.index is not None
        root, before = index.store.root, self.index["root"]
        pooled = self.index["token_pooling"] > 1
        records = (record for rows in shards for record in _records(rows, index, pooled=pooled))
        for path, group in groupby(records, lambda record: str(record[0]["path"])):
            found = list(group)
            first = found[0][0]
            name, known = renamed(path, before, root), State.parse(first["state"])
            read = partial(_restored, name, found, int(first["of"]))
            yield Document(name, first["state"], read, known.metadata, known)


def _passages(path: str, rows: RunRows, index: Index) -> Iterator[Passage]:
    for record, vector, tokens in _records(rows, index):
        name = record["id"]
        metadata = {"id": name, **{key: str(record[key]) for key in record.keys() - _OWN if record[key] is not None}}
        named: dict[str, Any] = {"metadata": metadata, "vector": vector, "multivector": tokens}
        if record["kind"] == "image":
            yield Passage(path, "image", image=name, **named)
        else:
            yield Passage(path, "text", text=record.get(_TEXT) or name, **named)


def _restored(path: str, records: list[_Record], num_passages: int) -> Iterator[Passage | Failure]:
    """The passages of a document at their positions, a failure where one is missing."""
    by_position = {record["position"]: (record, vector, tokens) for record, vector, tokens in records}
    for position in range(num_passages):
        if position not in by_position:
            error = InputError(f"passage {position + 1} of {num_passages} was not in the index that was exported")
            yield Failure(path, error)
            continue
        record, vector, tokens = by_position[position]
        fields = ("kind", "text", "start", "end", "line", "end_line", "title", "image", "content")
        values = {name: record[name] for name in fields}
        given = json.loads(record["metadata"])
        metadata = {name: value if isinstance(value, str) else tuple(value) for name, value in given.items()}
        yield Passage(path, metadata=metadata, vector=vector, multivector=tokens, **values)


_Record = tuple[dict[str, Any], "FloatArray", "FloatArray | None"]


def _records(rows: RunRows, index: Index, *, pooled: bool = False) -> Iterator[_Record]:
    """Each row with its vector and its multi-vector, None where none are wanted. pooled: they have been already."""
    made_with = index.store.fingerprint
    for start in range(0, len(rows.table), _DECODED_ROWS):
        records = rows.table.slice(start, _DECODED_ROWS).to_pylist()
        tokens: list[Any] = [None] * len(records)
        if rows.multivectors is not None:
            tokens = from_lists(rows.multivectors.slice(start, _DECODED_ROWS), made_with.multivector_dim or 0)
            if not pooled:
                tokens = [pool_tokens(one, made_with.token_pooling) for one in tokens]
        yield from zip(records, rows.vectors[start : start + _DECODED_ROWS], tokens, strict=True)
