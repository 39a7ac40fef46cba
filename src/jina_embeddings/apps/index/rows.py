"""Converts passages to rows of an Arrow table, and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ...errors import InputError
from ...vectors.similarity import normalize
from . import multivectors, words
from .fingerprint import Fingerprint
from .multivectors import column_type, to_column
from .passage import Hit, Passage, digest_of, is_url
from .paths import path_in

if TYPE_CHECKING:
    from ...types import FloatArray

FINGERPRINT_KEY = b"jina_embeddings"
PASSAGE_COLUMNS = (
    "path", "kind", "text", "start", "end", "line", "end_line", "title", "image", "metadata", "content",
)  # fmt: skip
HIT_COLUMNS = ("id", *PASSAGE_COLUMNS)


@dataclass(frozen=True, slots=True)
class Placed:
    """A passage, its place in its document, and its vector.

    state: the document's state, see `State`. position: the passage's number in the document, from 0. of: the number of
        passages of the document.
    multivector: (tokens, dim), rows normalised, if the index stores multi-vectors.
    """

    passage: Passage
    state: str
    position: int
    of: int
    vector: FloatArray
    multivector: FloatArray | None = None

    @property
    def path(self) -> str:
        return self.passage.path


def schema_of(fingerprint: Fingerprint) -> pa.Schema:
    """Returns the schema of a table, with the fingerprint in its metadata."""
    text, number = pa.string(), pa.int64()
    multivector = []
    if fingerprint.multivector and fingerprint.multivector_dim:
        kind = column_type(fingerprint.multivector, fingerprint.multivector_dim)
        multivector = [(multivectors.COLUMN, kind)]
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            ("path", text),
            ("kind", text),
            ("text", text),
            ("start", number),
            ("end", number),
            ("line", number),
            ("end_line", number),
            ("title", text),
            ("image", text),
            ("metadata", pa.list_(text)),
            ("content", text),
            ("state", text),
            ("position", number),
            ("of", number),
            ("vector", pa.list_(pa.float32(), fingerprint.dimension)),
            (words.COLUMN, text),
            *multivector,
        ],
        metadata={FINGERPRINT_KEY: fingerprint.to_json()},
    )


def to_table(
    placed: Sequence[Placed], schema: pa.Schema, fingerprint: Fingerprint, root: str | None = None
) -> pa.Table:
    """Returns rows, with normalised vectors.

    root: the folder of the index; paths of images in it are stored relative to it.

    Raises InputError for metadata that can't be stored.
    """
    passages = [item.passage for item in placed]
    columns: dict[str, Any] = {name: [getattr(passage, name) for passage in passages] for name in PASSAGE_COLUMNS}
    columns["image"] = [_in_folder(passage.image, root) for passage in passages]
    columns["metadata"] = [_entries(passage) for passage in passages]
    columns["id"] = [digest_of(item.passage.path, str(item.position)) for item in placed]
    for name in ("state", "position", "of"):
        columns[name] = [getattr(item, name) for item in placed]
    dim = schema.field("vector").type.list_size
    vectors = normalize(np.stack([item.vector for item in placed]))
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), dim)
    if words.COLUMN in schema.names:
        columns[words.COLUMN] = [words.searchable(passage.embedded_text) for passage in passages]
    if fingerprint.multivector:
        columns[multivectors.COLUMN] = to_column(
            [item.multivector for item in placed if item.multivector is not None], fingerprint.multivector
        )
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def to_passage(row: dict[str, Any], root: str | None = None) -> Passage:
    """Returns the passage of a row that has at least `PASSAGE_COLUMNS`. root: as in `to_table`."""
    values = {name: row[name] for name in PASSAGE_COLUMNS}
    if root and row["image"] and not is_url(row["image"]):
        values["image"] = os.path.join(root, row["image"])
    metadata: dict[str, tuple[str, ...]] = {}
    for entry in row["metadata"] or ():
        name, _, value = entry.partition("=")
        metadata[name] = (*metadata.get(name, ()), value)
    values["metadata"] = {name: found[0] if len(found) == 1 else found for name, found in metadata.items()}
    return Passage(**values)


def to_hit(row: dict[str, Any], cosine: float, root: str | None = None) -> Hit:
    """Returns the hit of a row that has at least `HIT_COLUMNS`; its score is the cosine. root: as in `to_table`."""
    return Hit(to_passage(row, root), cosine, cosine, row["id"], row.get("_rowid"))


def _in_folder(image: str, root: str | None) -> str:
    return image if not image or root is None or is_url(image) else path_in(image, root)


def _entries(passage: Passage) -> list[str]:
    entries: list[str] = []
    for name, value in passage.metadata.items():
        values = [value] if isinstance(value, str) else value
        valid = isinstance(values, list | tuple) and all(isinstance(one, str) for one in values)
        if not isinstance(name, str) or not valid or not name or "=" in name:
            raise InputError(
                f"metadata {name!r}: {value!r} of {passage.path}: a string or several, under a name without '='"
            )
        entries += [f"{name}={one}" for one in values]
    return sorted(entries)
