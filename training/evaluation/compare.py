"""Figures of BM25 and the teacher, which depend on the sets alone: each is measured once and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache as once
from pathlib import Path

from .baselines import Teacher, bm25
from .judged import family_means
from .measures import recall_at, spearman
from .sets import Pairs, Sets, Words, fingerprint

Figures = dict[str, dict[str, float]]


def compare(sets: Sets, cache: Path, kept: Path) -> Figures:
    """{"teacher" and "bm25": {set: recall@1, of word pairs Spearman}}; `kept` holds what was measured before."""
    stored = Kept(kept)
    teacher = once(lambda: Teacher(cache))
    figures: Figures = {"teacher": {}, "bm25": {}}
    for pairs in sets.pairs:
        figures["teacher"][pairs.name] = stored.figure(
            "teacher", pairs, lambda pairs=pairs: recall_at(teacher().pairs(pairs))
        )
        figures["bm25"][pairs.name] = stored.figure("bm25", pairs, lambda pairs=pairs: recall_at(bm25(pairs)))
    for words in sets.words:
        figures["teacher"][words.name] = stored.figure(
            "teacher", words, lambda words=words: spearman(teacher().words(words), words.scores)
        )
    return {name: measured | family_means(measured) for name, measured in figures.items()}


class Kept:
    """Figures in a JSON file, by baseline and by all that is in a set."""

    def __init__(self, path: Path):
        self._path = path
        self._figures: Figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def figure(self, baseline: str, data: Pairs | Words, measure: Callable[[], float]) -> float:
        """What was measured on just this set, or else what `measure` returns."""
        figures, key = self._figures.setdefault(baseline, {}), f"{data.name} {fingerprint(data)}"
        if key not in figures:
            figures[key] = measure()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._figures, indent=1) + "\n", encoding="utf-8")
        return figures[key]
