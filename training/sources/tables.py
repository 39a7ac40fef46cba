"""The sources' Parquet files, with the columns that training reads, and what DATA.md says of each source."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from packages import served

BUILD = Path(__file__).resolve().parents[1] / "build"
RAW = BUILD / "raw"
"""Rows as the sources give them; `decontaminate.py` writes those that training may see into BUILD."""

PAIR = ("query", "passage", "kind", "language", "source", "group")
TEXT = ("text", "language", "source", "group")


def pair(query: str, passage: str, kind: str, source: str, group: str, language: str = "en") -> dict[str, str]:
    return dict(zip(PAIR, (query, passage, kind, language, source, group), strict=True))


def text(content: str, source: str, group: str, language: str = "en") -> dict[str, str]:
    return dict(zip(TEXT, (content, language, source, group), strict=True))


def write_pairs(name: str, rows: list[dict[str, str]]) -> None:
    _write(RAW / f"{name}.parquet", rows, PAIR)


def write_texts(name: str, rows: list[dict[str, str]]) -> None:
    _write(RAW / f"{name}.parquet", rows, TEXT)


def write_heldout(name: str, rows: list[dict[str, str]]) -> None:
    """Pairs for evaluation alone, in BUILD/heldout-<name>.parquet."""
    _write(BUILD / f"heldout-{name}.parquet", rows, PAIR)


def _write(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...]) -> None:
    """Replaces the file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({column: pa.array([row[column] for row in rows], pa.string()) for column in columns})
    unfinished = path.with_name(path.name + ".part")
    pq.write_table(table, unfinished, compression="zstd", compression_level=9)
    unfinished.rename(path)


def write_record(step: str, source: str, packages: dict[str, str], what: str, rows: int) -> None:
    """One source in BUILD/records/<source>.json: the step that made it, packages with their licences, what and how many."""
    folder = BUILD / "records"
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "step": step,
        "source": source,
        "packages": {served(package): licence for package, licence in packages.items()},
        "what": what,
        "rows": rows,
    }
    (folder / f"{source}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
