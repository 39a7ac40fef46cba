"""The rows of a bulk run as documents of an index, with the vectors that they have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import IndexMismatchError
from ...pipeline.manifest import Manifest
from ...pipeline.provenance import differences, made_by
from ...pipeline.reading import RunRows, manifest_of, read_run
from ..index.passage import Document, Passage

if TYPE_CHECKING:
    from ..index import Index

_TEXT = "text"
_OWN = {"row", "id", "kind", "error", "error_code", _TEXT}


@dataclass(frozen=True, slots=True)
class RunDocuments:
    """A finished run, a document for each of its shards.

    A passage has the row's text where the run kept a field `text` (`--keep text`), else its id; what else was kept is
    its metadata.
    """

    folder: str

    def documents(self, index: Index) -> Iterator[Document]:
        """Raises IndexMismatchError where the index is of another model, task or dimension; RunError, InputError."""
        manifest = manifest_of(self.folder)
        _check(manifest, index, self.folder)
        for rows in read_run(self.folder):
            path = os.path.join(self.folder, f"shard-{rows.shard:06d}")
            yield Document(path, f"{manifest.run} {rows.shard}", partial(_passages, path, rows))


def _check(manifest: Manifest, index: Index, folder: str) -> None:
    made, fingerprint = manifest.made_by, index.store.fingerprint
    wrong = list(differences(made, made_by(index.model, manifest.form)))
    for name, here in (("task", fingerprint.task), ("dimension", fingerprint.dimension)):
        if made[name] != here:
            wrong.append(f"{name} is {made[name]} in the run and {here} in the index")
    if fingerprint.multivector:
        wrong.append("the index keeps multi-vectors too, which are not taken from a run")
    if wrong:
        raise IndexMismatchError(f"the vectors of {folder} don't fit the index: {'; '.join(wrong)}")


def _passages(path: str, rows: RunRows) -> Iterator[Passage]:
    for record, vector in zip(rows.table.to_pylist(), rows.vectors, strict=True):
        name = record["id"]
        metadata = {"id": name, **{key: str(record[key]) for key in record.keys() - _OWN if record[key] is not None}}
        named: dict[str, Any] = {"metadata": metadata, "vector": vector}
        if record["kind"] == "image":
            yield Passage(path, "image", image=name, **named)
        else:
            yield Passage(path, "text", text=record.get(_TEXT) or name, **named)
