"""Which rows of the training data hold something of an evaluation set, so that they can be left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .sets import Sets
from .shingles import Index
from .thumbnails import lookalikes, thumbnails

PATTERNS = {"texts-*.parquet": ("text",), "pairs-*.parquet": ("query", "passage"), "pictures-*.parquet": ("text",)}
ROWS_A_BATCH = 50_000

Hits = NDArray[np.bool_]


class Overlap:
    """Looks for the texts, pairs of words and pictures of the sets in training data; remembers which were seen.

    Attributes:
        sizes: by set, how many members it has.
    """

    def __init__(self, sets: Sets, pictures: Sequence[bytes] = ()):
        texts = {pairs.name: (*pairs.queries, *pairs.documents) for pairs in sets.pairs}
        if sets.pages:
            texts["pages"] = sets.pages
        self._slices: dict[str, slice] = {}
        everything: list[str] = []
        for name, members in texts.items():
            self._slices[name] = slice(len(everything), len(everything) + len(members))
            everything += members
        self._index = Index(everything)
        self._words = {
            words.name: {_both(*pair) for pair in zip(words.first, words.second, strict=True)} for words in sets.words
        }
        self._thumbnails = thumbnails(pictures)
        self.sizes = {name: part.stop - part.start for name, part in self._slices.items()}
        self.sizes |= {name: len(pairs) for name, pairs in self._words.items()}
        self.sizes |= {"pictures": len(pictures)} if pictures else {}
        self._met: dict[str, set[object]] = {name: set() for name in self.sizes}

    @property
    def seen(self) -> dict[str, set[object]]:
        """By set, the members that were met so far."""
        texts = {name: set(np.flatnonzero(self._index.seen[part]).tolist()) for name, part in self._slices.items()}
        return self._met | texts

    def hits(self, table: pa.Table, columns: Sequence[str]) -> Hits:
        """Rows (n,) with a text of an evaluation set in one of the columns, a judged pair of words, or its picture."""
        hit = np.zeros(len(table), dtype=bool)
        for start in range(0, len(table), ROWS_A_BATCH):
            part = table.slice(start, ROWS_A_BATCH)
            found = hit[start : start + len(part)]
            for column in columns:
                found |= self._index.hits(part[column].to_pylist())
            if len(columns) == 2:
                found |= self._judged_words(*(part[column].to_pylist() for column in columns))
            if "image" in table.column_names and len(self._thumbnails):
                found |= self._pictures(part["image"].to_pylist())
        return hit

    def _judged_words(self, first: list[str], second: list[str]) -> Hits:
        pairs = [_both(*pair) for pair in zip(first, second, strict=True)]
        hit = np.zeros(len(pairs), dtype=bool)
        for name, judged in self._words.items():
            found = [pair in judged for pair in pairs]
            hit |= np.array(found, dtype=bool)
            self._met[name] |= {pair for pair, known in zip(pairs, found, strict=True) if known}
        return hit

    def _pictures(self, images: list[bytes]) -> Hits:
        alike = lookalikes(thumbnails(images), self._thumbnails)
        self._met["pictures"] |= set(np.flatnonzero(alike.any(0)).tolist())
        return alike.any(1)


def _both(first: str, second: str) -> frozenset[str]:
    return frozenset((first.lower().strip(), second.lower().strip()))


def training_files(folder: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """Files of training data, and their columns of text."""
    return [(path, columns) for pattern, columns in PATTERNS.items() for path in sorted(folder.glob(pattern))]


def clean(overlap: Overlap, path: Path, columns: Sequence[str], target: Path) -> Hits:
    """Writes the file without the rows that overlap; `target` is never half written. Returns the rows (n,) left out."""
    table = pq.read_table(path)
    hit = overlap.hits(table, columns)
    draft = target.with_name(f".{target.name}.draft")
    pq.write_table(table.filter(pa.array(~hit)), draft, compression="zstd", compression_level=9)
    draft.replace(target)
    return hit
