"""Passages as rows of an Arrow table, and back."""

from __future__ import annotations

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
from .passage import Hit, Passage, digest_of

if TYPE_CHECKING:
    from ...types import FloatArray

FINGERPRINT_KEY = b"jina_embeddings"
PASSAGE_COLUMNS = (
    "path", "kind", "text", "start", "end", "line", "end_line", "title", "image", "metadata", "content",
)  # fmt: skip
HIT_COLUMNS = ("id", *PASSAGE_COLUMNS)


@dataclass(frozen=True, slots=True)
class Placed:
    """A passage at its place in a document, with its vector.

    state: digest of the document and its path. position: of the passage in it, from 0. of: passages of it.
    multivector: (tokens, dim), rows normalised, where the index keeps them.
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
    """The table's columns; what made the vectors is in the schema's metadata."""
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


def to_table(placed: Sequence[Placed], schema: pa.Schema, fingerprint: Fingerprint) -> pa.Table:
    """Rows with normalised vectors. Raises InputError for metadata that can't be stored."""
    passages = [item.passage for item in placed]
    columns: dict[str, Any] = {name: [getattr(passage, name) for passage in passages] for name in PASSAGE_COLUMNS}
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


def to_passage(row: dict[str, Any]) -> Passage:
    """From a row of at least `PASSAGE_COLUMNS`."""
    values = {name: row[name] for name in PASSAGE_COLUMNS}
    values["metadata"] = dict(entry.split("=", 1) for entry in row["metadata"] or ())
    return Passage(**values)


def to_hit(row: dict[str, Any], cosine: float) -> Hit:
    """From a row of at least `HIT_COLUMNS`; ranked by the cosine."""
    return Hit(to_passage(row), cosine, cosine, row["id"])


def _entries(passage: Passage) -> list[str]:
    for name, value in passage.metadata.items():
        if not isinstance(name, str) or not isinstance(value, str) or not name or "=" in name:
            raise InputError(
                f"metadata {name!r}: {value!r} of {passage.path}: names and values are strings, and a name has no '='"
            )
    return sorted(f"{name}={value}" for name, value in passage.metadata.items())
