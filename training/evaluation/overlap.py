"""Whether anything of an evaluation set is in the training data, and a training data without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .sets import Sets
from .shingles import Index

PATTERNS = {"texts-*.parquet": ("text",), "pairs-*.parquet": ("query", "passage"), "pictures-*.parquet": ("text",)}
ROWS_A_BATCH = 50_000


class Overlap:
    """Looks for the texts of the sets in files of training data."""

    def __init__(self, sets: Sets):
        texts = {pairs.name: (*pairs.queries, *pairs.documents) for pairs in sets.pairs}
        if sets.pages:
            texts["pages"] = sets.pages
        self._slices: dict[str, slice] = {}
        everything: list[str] = []
        for name, members in texts.items():
            self._slices[name] = slice(len(everything), len(everything) + len(members))
            everything += members
        self._index = Index(everything)
        self.rows: dict[str, int] = {}

    def table_hits(self, table: pa.Table, columns: Sequence[str]) -> NDArray[np.bool_]:
        """Rows (n,) with a text of an evaluation set in one of the columns."""
        hit = np.zeros(len(table), dtype=bool)
        for start in range(0, len(table), ROWS_A_BATCH):
            part = table.slice(start, ROWS_A_BATCH)
            for column in columns:
                hit[start : start + len(part)] |= self._index.hits(part[column].to_pylist())
        return hit

    def scan(self, build: Path) -> Iterator[tuple[Path, NDArray[np.bool_]]]:
        """Every training file with which of its rows overlap."""
        for path, columns in training_files(build):
            hit = self.table_hits(pq.read_table(path, columns=list(columns)), columns)
            self.rows[path.stem] = int(hit.sum())
            yield path, hit

    def seen(self) -> dict[str, dict[str, int]]:
        """By set: how many texts it has, and how many of them were met."""
        return {
            name: {"texts": part.stop - part.start, "seen": int(self._index.seen[part].sum())}
            for name, part in self._slices.items()
        }


def training_files(build: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """Files of training data, and their columns of text."""
    return [(path, columns) for pattern, columns in PATTERNS.items() for path in sorted(build.glob(pattern))]


def remove(path: Path, hit: NDArray[np.bool_]) -> None:
    """Writes the file anew without the rows; it is never half written."""
    table = pq.read_table(path)
    draft = path.with_name(f".{path.name}.draft")
    pq.write_table(table.filter(pa.array(~hit)), draft, compression="zstd", compression_level=9)
    draft.replace(path)
