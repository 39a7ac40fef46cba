"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .judged import PAGES, ROWS, Row

Cell = str | float | None
BASELINES = ("teacher", "bm25", "untrained")


def markdown(result: Mapping[str, Any]) -> str:
    """All tables of a result file of `training/evaluate.py`."""
    parts = [judged(result)]
    if languages := {k.partition("/")[2]: v for k, v in result["model"].items() if k.startswith("udhr/")}:
        teacher = result.get("teacher", {})
        rows = [[code, figure, teacher.get(f"udhr/{code}")] for code, figure in languages.items()]
        parts.append(grid("UDHR by language, recall@1", ("", "pocket", "teacher"), rows))
    for key, title in TITLES.items():
        if figures := result.get(key):
            columns = list(dict.fromkeys(column for row in figures.values() for column in row))
            rows = [[name, *(row.get(column) for column in columns)] for name, row in figures.items()]
            parts.append(grid(title, ("", *columns), rows))
    parts += [f"Left out: {reason}" for reason in result.get("skipped", ())]
    return "\n\n".join(parts)


TITLES = {
    "words": "Likeness of words, Spearman",
    "multivector": "Dense and multi-vector, recall@1",
    "shorter": "Shorter vectors, recall@1",
    "adapters": "Every set with every adapter",
    "pages": "Rendered pages, recall@1",
    "pictures": "Text to picture",
}


def judged(result: Mapping[str, Any]) -> str:
    """The table that is judged by, with the baselines."""
    columns = [column for column in BASELINES if column in result]
    model = result["model"]
    rows = []
    for row in (*ROWS, PAGES):
        if row.family not in model:
            continue
        goal, reached = verdict(row, model[row.family], result.get("teacher", {}).get(row.family))
        figures = [result[column].get(row.family) for column in columns]
        rows.append([f"{row.label} ({_size(result, row)})", model[row.family], *figures, goal, reached])
    return grid("Recall@1 (pool)", ("", "pocket", *columns, "goal", ""), rows)


def verdict(row: Row, figure: float, teacher: float | None) -> tuple[str, str]:
    """The goal in words, and whether it is reached."""
    goal = row.goal if row.goal is not None else teacher
    words = f"≥ {row.goal:.2f}" if row.goal is not None else "above the teacher"
    if goal is None:
        return words, "?"
    # As the table shows it: a goal of two decimals isn't missed by a rounding of the third.
    return words, "yes" if (figure >= goal if row.goal is not None else figure > goal) else "no"


def grid(title: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """One Markdown table; numbers to three decimals, an absent one as a dash."""
    lines = [f"| {title} |" + "".join(f" {cell} |" for cell in head[1:]), "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _size(result: Mapping[str, Any], row: Row) -> int:
    return next(size for name, size in result["pools"].items() if name.partition("/")[0] == row.family)
