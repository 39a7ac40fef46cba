"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .judged import PAGES, ROWS, Row

Cell = str | int | float | None

TABLES = {
    "multivector": "Dense and multi-vector, recall@1",
    "shorter": "Shorter vectors, recall@1",
    "adapters": "Every set with every adapter",
    "adapters_by_task": "Mean of each task's sets with every adapter",
}


def markdown(result: Mapping[str, Any]) -> str:
    """All tables of a result of `training/evaluate.py`, and what was left out."""
    recall = result["recall"]
    languages = [name for name in recall["pocket"] if name.startswith("udhr/")]
    by_language = [[name.partition("/")[2], *(figures.get(name) for figures in recall.values())] for name in languages]
    parts = [judged(result), grid("UDHR by language, recall@1", ("", *recall), by_language)]
    if "words" in result:
        teacher = recall.get("teacher", {})
        rows = [[name, figure, teacher.get(name)] for name, figure in result["words"].items()]
        parts.append(grid("Likeness of words, Spearman", ("", "pocket", "teacher"), rows))
    for key, title in TABLES.items():
        if figures := result.get(key):
            columns = list(dict.fromkeys(column for row in figures.values() for column in row))
            rows = [[name, *(row.get(column) for column in columns)] for name, row in figures.items()]
            parts.append(grid(title, ("", *columns), rows))
    if "pictures" in result:
        parts.append(grid("Text to picture, held out", ("", "pocket"), [list(x) for x in result["pictures"].items()]))
    return "\n\n".join([*parts, *verdicts(result), *(f"Left out: {reason}." for reason in result["skipped"])])


def overlap_tables(result: Mapping[str, Any]) -> str:
    """What of the sets the sources hold, and how many of their rows are left out for it."""
    sets = [[name, *counts.values()] for name, counts in result["sets"].items()]
    files = [[name, *counts.values()] for name, counts in result["files"].items()]
    return "\n\n".join(
        [
            grid("Evaluation set", ("", "texts, pairs or pictures", "met in the sources"), sets),
            grid("File", ("", "rows", "left out"), files),
        ]
    )


def judged(result: Mapping[str, Any]) -> str:
    """The table that is judged by, with the baselines beside it."""
    recall, rows = result["recall"], []
    for row in (*ROWS, PAGES):
        if row.family not in recall["pocket"]:
            continue
        figure = recall["pocket"][row.family]
        goal, reached = verdict(row, figure, recall.get("teacher", {}).get(row.family))
        figures = [column.get(row.family) for column in recall.values()]
        rows.append([f"{row.label} ({_pool(result, row)})", *figures, goal, reached])
    return grid("Recall@1 (pool)", ("", *recall, "goal", "reached"), rows)


def verdict(row: Row, figure: float, teacher: float | None) -> tuple[str, str]:
    """The goal in words, and whether it is reached."""
    if row.goal is not None:
        return f"≥ {row.goal:.2f}", "yes" if figure >= row.goal else "no"
    return "above the teacher", "?" if teacher is None else "yes" if figure > teacher else "no"


def verdicts(result: Mapping[str, Any]) -> list[str]:
    """The goals that aren't a number, each in a sentence."""
    said = []
    for name, row in result.get("multivector", {}).items():
        better = row["multi-vector"] > row["dense"]
        said.append(f"Multi-vector is {'better than' if better else 'not better than'} dense on {name}.")
    for task, row in result.get("adapters_by_task", {}).items():
        best = max(row, key=row.__getitem__)
        said.append(f"Sets of {task} are best with the adapter {best}.")
    return said


def grid(title: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """One Markdown table whose first column is headed by the title; numbers to three decimals, an absent one a dash."""
    lines = [f"| {' | '.join([title, *head[1:]])} |", "|---" * len(head) + "|"]
    lines += [f"| {' | '.join(map(_text, row))} |" for row in rows]
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _pool(result: Mapping[str, Any], row: Row) -> int | str:
    return next((size for name, size in result["pools"].items() if name.partition("/")[0] == row.family), "?")
