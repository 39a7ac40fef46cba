"""Figures of BM25 and the teacher, which depend on the sets alone: measured once, kept in a file."""

from __future__ import annotations

import json
from pathlib import Path

from .baselines import Teacher, bm25
from .judged import judge
from .measures import spearman
from .sets import Sets


def compare(sets: Sets, cache: Path, kept: Path) -> dict[str, dict[str, float]]:
    """recall@1 by set of both, and the teacher's Spearman; read from `kept` if it is of the same sets."""
    fingerprint = sets.fingerprint()
    if kept.is_file():
        stored = json.loads(kept.read_text(encoding="utf-8"))
        if stored["sets"] == fingerprint:
            return dict(stored["figures"])
    teacher = Teacher(cache)
    figures = {"teacher": judge(sets, teacher.pairs), "bm25": judge(sets, bm25)}
    figures["teacher"] |= {words.name: spearman(teacher.words(words), words.scores) for words in sets.words}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"sets": fingerprint, "figures": figures}, indent=1) + "\n", encoding="utf-8")
    return figures
