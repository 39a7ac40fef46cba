"""Which way to fuse the rankings by vectors and by words is best, chosen on two sets and confirmed on others.

    apt-get install postgresql-doc-15 python3.11-doc sqlite3-doc
    python benchmarks/joining.py [--sections 250] [--functions 250]

Manuals as in `retrieval_quality.py` (nDCG@10 of sections), functions with their names as in `code_search_quality.py`
(mean reciprocal rank within the first ten). Each question's best 100 by vectors and best 100 by words are joined in
several ways. `CHOSEN_ON` are the sets that a way is chosen by: PostgreSQL's manual, and functions of Python packages
that `pocket` was not trained on. The others have no part in the choice.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import code_search_quality as code
import retrieval_quality as retrieval
from from_tools import write_result
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Passage
from jina_embeddings.apps.index.fingerprint import Fingerprint
from jina_embeddings.apps.index.fusion import DENSE_SHARE
from jina_embeddings.apps.index.fusion import join as join_scores
from jina_embeddings.apps.index.rows import Placed
from jina_embeddings.apps.index.store import Store
from quality.code_files import GO, PYTHON, library_files, package_files

DEPTH = 100
DEFAULT = f"scores, dense {DENSE_SHARE}"

CHOSEN_ON = {"postgresql", "python-packages"}
MANUALS = {"postgresql": "postgresql", "sqlite": "sqlite", "python-manual": "python"}
FUNCTIONS = {
    "python-packages": lambda: code.python(package_files(PYTHON, r"\.py$")),
    "python-library": lambda: code.python(library_files()),
    "go-packages": lambda: code.go(package_files(GO, r"\.go$")),
}

Ranking = list[tuple[int, float]]
"""(index of a passage, score), best first."""


@dataclass(frozen=True)
class Asked:
    """One question. answer: the unit that answers it. dense, words: both rankings of passages."""

    answer: int
    dense: Ranking
    words: Ranking


@dataclass(frozen=True)
class Set:
    """unit_of: the unit that each passage is a part of. answers: the unit of each question."""

    task: str
    passages: Sequence[str]
    questions: Sequence[str]
    unit_of: np.ndarray
    answers: Sequence[int]
    gains: Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=250, help="most sections of a manual")
    parser.add_argument("--functions", type=int, default=250, help="most functions of a set")
    parser.add_argument("--sets", default=",".join([*MANUALS, *FUNCTIONS]), help="comma-separated")
    parser.add_argument("--keep", type=Path, help="a folder for the rankings, which are taken from there if they are")
    parser.add_argument("--name", default="joining", help="of the result's file")
    arguments = parser.parse_args()
    model = JinaEmbeddings("pocket", engine="torch", task="retrieval")
    found: dict[str, Any] = {}
    for name in arguments.sets.split(","):
        given = manual(name, arguments.sections) if name in MANUALS else functions(name, arguments.functions)
        asked = kept(arguments.keep, name, partial(ranked, model, given))
        gained = {way: given.gains(ranks(asked, given.unit_of, join)) for way, join in WAYS.items()}
        found[name] = {
            "chosen_on": name in CHOSEN_ON,
            "questions": len(asked),
            "measure": given.gains.__name__,
            "joined": {way: round(float(scores.mean()), 4) for way, scores in gained.items()},
            "hybrid": compared(gained),
        }
        print(name, found[name], file=sys.stderr)
    write_result(arguments.name, {"gains": gains(found), "sets": found})


def compared(gained: dict[str, np.ndarray]) -> dict[str, Any]:
    """The difference of the default and the better of dense and words, with its standard error over the questions."""
    better = max(("dense", "words"), key=lambda way: gained[way].mean())
    difference = gained[DEFAULT] - gained[better]
    return {
        "over": better,
        "difference": round(float(difference.mean()), 4),
        "standard_error": round(float(difference.std() / len(difference) ** 0.5), 4),
        "questions_better": int((difference > 0).sum()),
        "questions_worse": int((difference < 0).sum()),
    }


def gains(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the gain of each way over the better of dense and words: the mean and the least over the sets."""
    table: dict[str, dict[str, float]] = {}
    for way in WAYS:
        row = table[way] = {}
        for title, chosen_on in (("chosen_on", True), ("confirmed_on", False)):
            joined = [one["joined"] for one in found.values() if one["chosen_on"] == chosen_on]
            over = [scores[way] - max(scores["dense"], scores["words"]) for scores in joined]
            if over:
                row |= {f"{title}_mean": round(float(np.mean(over)), 4), f"{title}_least": round(min(over), 4)}
    return table


def manual(name: str, most: int) -> Set:
    read = retrieval.read_manual(MANUALS[name], most, 1000)
    unit_of = np.searchsorted(read.starts, np.arange(len(read.passages)), side="right") - 1
    return Set("retrieval", read.passages, read.questions, unit_of, read.answers, ndcg)


def functions(name: str, most: int) -> Set:
    pairs = code.with_names(code.draw(FUNCTIONS[name](), most), "kept")
    places = np.arange(len(pairs.documents))
    return Set("code", pairs.documents, pairs.queries, places, places.tolist(), mrr)


def kept(folder: Path | None, name: str, make: Callable[[], list[Asked]]) -> list[Asked]:
    path = folder and folder / f"{name}.pickle"
    if path and path.exists():
        asked: list[Asked] = [Asked(*fields) for fields in pickle.loads(path.read_bytes())]
        return asked
    asked = make()
    if path:
        path.write_bytes(pickle.dumps([astuple(one) for one in asked]))
    return asked


def ranked(model: JinaEmbeddings, given: Set) -> list[Asked]:
    vectors = model.encode_text(list(given.passages), task=given.task, prompt_name="passage")
    asked = model.encode_text(list(given.questions), task=given.task, prompt_name="query")
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(folder, Fingerprint.of(model, given.task, None, "files"))
        texts = enumerate(given.passages)
        placed = [Placed(Passage(str(n), "text", text), str(n), 0, 1, vectors[n]) for n, text in texts]
        store.write(placed, new=True)
        store.tidy()
        found = []
        for question, vector, answer in zip(given.questions, asked, given.answers, strict=True):
            dense = [(int(hit.passage.path), hit.score) for hit in store.search(vector, DEPTH)]
            words = [(int(hit.passage.path), hit.score) for hit in store.search_words(question, vector, DEPTH)]
            found.append(Asked(answer, dense, words))
    return found


def by_ranks(dense: Ranking, words: Ranking, *, offset: int = 60, share: float = 0.5) -> dict[int, float]:
    """Reciprocal rank fusion. share: the weight of the ranking by vectors."""
    scores: dict[int, float] = {}
    for ranking, weight in ((dense, share), (words, 1 - share)):
        for rank, (number, _) in enumerate(ranking, 1):
            scores[number] = scores.get(number, 0.0) + weight / (offset + rank)
    return scores


Join = Callable[[Ranking, Ranking], dict[int, float]]

WAYS: dict[str, Join] = {
    "dense": lambda dense, words: dict(dense),
    "words": lambda dense, words: dict(words),
    **{
        f"ranks, offset {offset}, dense {share}": partial(by_ranks, offset=offset, share=share)
        for offset in (60, 10, 2)
        for share in (0.5, 0.6, 0.7, 0.8)
    },
    **{f"scores, dense {share}": partial(join_scores, dense_share=share) for share in (0.5, 0.6, 0.7, 0.8, 0.9)},
}


def ranks(asked: Sequence[Asked], unit_of: np.ndarray, join: Join) -> np.ndarray:
    """Returns the ranks, from 1, of the units that answer the questions; a unit has the rank of its best passage."""
    found = []
    for one in asked:
        joined = join(one.dense, one.words)
        units = [int(unit_of[number]) for number in sorted(joined, key=lambda number: -joined[number])]
        found.append(retrieval.rank_of(one.answer, units))
    return np.array(found)


def ndcg(found: np.ndarray) -> np.ndarray:
    """nDCG@10 of each question."""
    return np.where(found <= retrieval.DEPTH, 1 / np.log2(1 + found), 0.0)


def mrr(found: np.ndarray) -> np.ndarray:
    """The reciprocal rank of each question; ranks over 10 count as 0."""
    return np.where(found <= retrieval.DEPTH, 1 / found, 0.0)


if __name__ == "__main__":
    main()
