"""The table that issue and documentation judge by: its rows, goals and how each is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .measures import Scores, recall_at
from .sets import Pairs, Sets

PairScores = Callable[[Pairs], Scores]


@dataclass(frozen=True)
class Row:
    """One family of sets and its goal; without a number the goal is to be above the teacher."""

    family: str
    label: str
    goal: float | None


ROWS = (
    Row("boolq", "BoolQ", 0.84),
    Row("pubmedqa", "PubMedQA", 0.93),
    Row("humaneval", "HumanEval, names masked", 0.50),
    Row("heldout-code-python", "docstring to code, held out, Python", None),
    Row("heldout-code-go", "docstring to code, held out, Go", None),
    Row("udhr", "UDHR, English to other languages, mean", 0.75),
)
PAGES = Row("pages", "rendered page to its text, fonts of training", 0.70)


def judge(sets: Sets, scores: PairScores) -> dict[str, float]:
    """recall@1 of every set; a family of several sets has its mean under the family's name as well."""
    figures = {pairs.name: recall_at(scores(pairs)) for pairs in sets.pairs}
    return figures | family_means(figures)


def family_means(figures: dict[str, float]) -> dict[str, float]:
    """
    >>> family_means({"udhr/de": 1.0, "udhr/fr": 0.5, "boolq": 0.1})
    {'udhr': 0.75}
    """
    families: dict[str, list[float]] = {}
    for name, figure in figures.items():
        family, slash, _ = name.partition("/")
        if slash:
            families.setdefault(family, []).append(figure)
    return {family: sum(members) / len(members) for family, members in families.items()}
