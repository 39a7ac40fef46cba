"""Reads what `sources/` has written: texts and pairs, with the sampling weight of each kind of source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BUILD = Path(__file__).resolve().parent / "build"


def tables(pattern: str, build: Path = BUILD) -> Iterator[tuple[str, pa.Table]]:
    """Name and table of every Parquet file that matches, by name."""
    for path in sorted(build.glob(f"{pattern}.parquet")):
        yield path.stem, pq.read_table(path)


def every_text(build: Path = BUILD) -> Iterator[tuple[str, list[str]]]:
    """All texts of the corpus by file: what the tokenizer is trained on."""
    for name, table in tables("texts-*", build):
        yield name, table["text"].to_pylist()
    for name, table in tables("pairs-*", build):
        for column in ("query", "passage"):
            yield f"{name}.{column}", table[column].to_pylist()
