"""Which way to join the rankings by vectors and by words is best.

    apt-get install postgresql-doc-15
    python benchmarks/joining.py [--sections 300] [--functions 300]

PostgreSQL's manual as in `retrieval_quality.py` (nDCG@10 of sections), functions of held out packages with their
names, as in `code_search_quality.py` (mean reciprocal rank). Each question's best 100 by vectors and best 100 by words
are joined in several ways. PostgreSQL's manual judges nothing else; the functions are judged by in docs/applications.md
too, so a way that is chosen by them has to be judged by other sets.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from jina_embeddings.apps.index.rows import Placed
from jina_embeddings.apps.index.store import Store
from quality.code_files import GO, PYTHON, package_files

DEPTH = 100

Ranking = list[tuple[int, float]]
"""Numbers of passages with their scores, best first."""


@dataclass(frozen=True)
class Asked:
    """One question: the unit that answers it, and both rankings of passages."""

    answer: int
    dense: Ranking
    words: Ranking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=300, help="most sections of the manual")
    parser.add_argument("--functions", type=int, default=300, help="most functions")
    parser.add_argument("--sets", default="postgresql,python,go", help="comma-separated")
    parser.add_argument("--keep", type=Path, help="a folder for the rankings themselves")
    parser.add_argument("--name", default="joining", help="of the result's file")
    arguments = parser.parse_args()
    model = JinaEmbeddings("pocket", engine="torch", task="retrieval")
    found: dict[str, Any] = {}
    for name in arguments.sets.split(","):
        if name == "postgresql":
            manual = retrieval.read_manual(name, arguments.sections, 1000)
            unit_of = np.searchsorted(manual.starts, np.arange(len(manual.passages)), side="right") - 1
            asked = ranked(model, "retrieval", manual.passages, manual.questions, manual.answers)
            score: Callable[[np.ndarray], float] = ndcg
        else:
            functions = (
                code.python(package_files(PYTHON, r"\.py$"))
                if name == "python"
                else code.go(package_files(GO, r"\.go$"))
            )
            pairs = code.with_names(code.draw(functions, arguments.functions), "kept")
            unit_of = np.arange(len(pairs.documents))
            asked = ranked(model, "code", pairs.documents, pairs.queries, unit_of.tolist())
            score = mrr
        if arguments.keep:
            (arguments.keep / f"{name}.pickle").write_bytes(pickle.dumps((unit_of, asked)))
        found[name] = {"questions": len(asked), "measure": score.__name__}
        found[name]["joined"] = {way: round(score(ranks(asked, unit_of, join)), 4) for way, join in WAYS.items()}
        print(name, found[name], file=sys.stderr)
    write_result(arguments.name, {"sets": found})


def ranked(
    model: JinaEmbeddings, task: str, passages: Sequence[str], questions: Sequence[str], answers: Sequence[int]
) -> list[Asked]:
    vectors = model.encode_text(list(passages), task=task, prompt_name="passage")
    asked = model.encode_text(list(questions), task=task, prompt_name="query")
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(folder, Fingerprint.of(model, task, None, "files"))
        placed = [Placed(Passage(str(n), "text", text), str(n), 0, 1, vectors[n]) for n, text in enumerate(passages)]
        store.write(placed, new=True)
        store.tidy()
        found = []
        for question, vector, answer in zip(questions, asked, answers, strict=True):
            dense = [(int(hit.passage.path), hit.score) for hit in store.search(vector, DEPTH)]
            words = [(int(hit.passage.path), hit.score) for hit in store.search_words(question, vector, DEPTH)]
            found.append(Asked(answer, dense, words))
    return found


def by_ranks(dense: Ranking, words: Ranking, *, offset: int = 60, share: float = 0.5) -> dict[int, float]:
    """share: of the ranking by vectors."""
    scores: dict[int, float] = {}
    for ranking, weight in ((dense, share), (words, 1 - share)):
        for rank, (number, _) in enumerate(ranking, 1):
            scores[number] = scores.get(number, 0.0) + weight / (offset + rank)
    return scores


def by_scores(dense: Ranking, words: Ranking, *, share: float) -> dict[int, float]:
    """Scores scaled to 0 to 1 within each ranking. share: of the ranking by vectors."""
    scores: dict[int, float] = {}
    for ranking, weight in ((dense, share), (words, 1 - share)):
        best, least = (ranking[0][1], ranking[-1][1]) if ranking else (1.0, 0.0)
        span = best - least or 1.0
        for number, value in ranking:
            scores[number] = scores.get(number, 0.0) + weight * (value - least) / span
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
    **{f"scores, dense {share}": partial(by_scores, share=share) for share in (0.5, 0.6, 0.7, 0.8, 0.9)},
}


def ranks(asked: Sequence[Asked], unit_of: np.ndarray, join: Join) -> np.ndarray:
    """From 1, of the answers' units (questions,); a unit stands where its best passage does."""
    found = []
    for one in asked:
        joined = join(one.dense, one.words)
        units = [int(unit_of[number]) for number in sorted(joined, key=lambda number: -joined[number])]
        found.append(retrieval.rank_of(one.answer, units))
    return np.array(found)


def ndcg(found: np.ndarray) -> float:
    return retrieval.measure(found)["ndcg_at_10"]


def mrr(found: np.ndarray) -> float:
    """Ranks over 10 count as nothing."""
    return float(np.where(found <= retrieval.DEPTH, 1 / found, 0.0).mean())


if __name__ == "__main__":
    main()
