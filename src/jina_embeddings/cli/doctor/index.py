"""Checks that an index is complete, and measures the recall of its approximate search."""

from __future__ import annotations

from ...apps.index import recall
from ...apps.index.store import Store
from .report import Report

_MIN_RECALL = 0.9
_NUM_QUESTIONS = 100


def check_index(report: Report, address: str) -> None:
    """Adds the section `index`. Raises IndexNotFoundError, IndexMismatchError."""
    store = Store.open(address)
    facts = report.sections["index"] = store.describe()
    if not store.has_words:
        report.problem("its format has no words to search", "make the index again, in another folder")
    elif not store.indexes_words:
        report.problem("words have no index: making it was cut short", "run the command that made it once more")
    if len(store) < 2:
        return
    measured = recall.measure(store, questions=_NUM_QUESTIONS)
    facts["sample"] = {
        "passages_as_questions": measured.questions,
        f"recall_at_{measured.depth}": measured.recall,
        "median_ms": measured.approximate_ms,
        "median_ms_exact": measured.exact_ms,
    }
    if measured.recall < _MIN_RECALL:
        report.problem(
            f"of the {measured.depth} best passages, searches find {measured.recall:.2f} in the mean",
            "search with --exact where each one counts",
        )
