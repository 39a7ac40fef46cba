"""The sources' Parquet files, with the columns that training reads, and their rows of DATA.md."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BUILD = Path(__file__).resolve().parents[1] / "build"
PAIR = ("query", "passage", "kind", "language", "source", "group")
TEXT = ("text", "language", "source", "group")


def pair(query: str, passage: str, kind: str, source: str, group: str, language: str = "en") -> dict[str, str]:
    return dict(zip(PAIR, (query, passage, kind, language, source, group), strict=True))


def text(content: str, source: str, group: str, language: str = "en") -> dict[str, str]:
    return dict(zip(TEXT, (content, language, source, group), strict=True))


def write_pairs(name: str, rows: list[dict[str, str]]) -> None:
    _write(name, rows, PAIR)


def write_texts(name: str, rows: list[dict[str, str]]) -> None:
    _write(name, rows, TEXT)


def _write(name: str, rows: list[dict[str, str]], columns: tuple[str, ...]) -> None:
    """Replaces build/<name>.parquet in one step, so that a reader never sees half of it."""
    BUILD.mkdir(parents=True, exist_ok=True)
    table = pa.table({column: pa.array([row[column] for row in rows], pa.string()) for column in columns})
    unfinished = BUILD / f"{name}.parquet.part"
    pq.write_table(table, unfinished, compression="zstd", compression_level=9)
    unfinished.rename(BUILD / f"{name}.parquet")


def write_row(source: str, packages: dict[str, str], what: str, rows: int) -> None:
    """One line of DATA.md in build/data/<source>.md: packages with versions, licences, what and how many."""
    folder = BUILD / "data"
    folder.mkdir(parents=True, exist_ok=True)
    names = ", ".join(package.split(":", 1)[1] for package in packages)
    licences = ", ".join(sorted(set(packages.values())))
    line = f"| {source} | {names} | {licences} | {what} | {rows:,} |\n"
    (folder / f"{source}.md").write_text(line, encoding="utf-8")
