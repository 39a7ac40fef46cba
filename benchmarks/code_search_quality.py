"""How well functions are found by their documentation: MRR of `pocket`, all-MiniLM-L6-v2 and BM25 in one run.

    pip install -e ".[apps,bench]"
    python benchmarks/code_search_quality.py [--functions 1000]

A question is the first paragraph of a function's documentation; its answer is that function without documentation,
among those of all other questions. `kept` leaves the function's name where it is, `masked` writes `f` for it in the
question and in the code. Of each set so many functions are drawn at random. `pocket` was trained on the functions of
Python's standard library, but not on those of the packages held out by `quality/code_files.py`. What the
training of all-MiniLM-L6-v2 held is for its authors to say; they name CodeSearchNet, which is Python and Go too.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from from_tools import write_result
from jina_embeddings import JinaEmbeddings
from quality.baselines import Teacher, bm25
from quality.code_files import GO, PYTHON, library_files, package_files
from quality.go_functions import go_functions
from quality.humaneval import mask
from quality.python_functions import python_functions
from quality.sets import Pairs

NAME = re.compile(r"^(?:async )?(?:def|func(?: \([^)]*\))?) (\w+)", re.MULTILINE)
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, default=1000, help="most functions of a set")
    arguments = parser.parse_args()
    model, minilm = JinaEmbeddings("pocket", engine="transformers", task="code"), Teacher()
    sets: dict[str, Any] = {}
    for name, found in (
        ("python, standard library", python(library_files())),
        ("python, packages held out", python(package_files(PYTHON, r"\.py$"))),
        ("go, packages held out", go(package_files(GO, r"\.go$"))),
    ):
        drawn = draw(found, arguments.functions)
        sets[name] = {"functions": len(drawn)}
        for names in ("kept", "masked"):
            pairs = with_names(drawn, names)
            queries = model.encode_text(list(pairs.queries), prompt_name="query")
            passages = model.encode_text(list(pairs.documents), prompt_name="passage")
            sets[name][names] = {
                "pocket": measure(queries @ passages.T),
                "all-MiniLM-L6-v2": measure(minilm.pairs(pairs)),
                "bm25": measure(bm25(pairs.queries, pairs.documents)),
            }
            print(name, names, sets[name][names], file=sys.stderr)
    packages = [*PYTHON, *GO]
    write_result("code_search_quality", {"held_out_packages": packages, "sets": sets})


def python(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in files:
        yield from python_functions(text)


def go(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in files:
        yield from go_functions(text)


def draw(found: Iterator[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """`count` distinct pairs of questions and functions, in an order that depends on the seed only."""
    pairs = sorted(set(found))
    random.Random(SEED).shuffle(pairs)
    seen: set[str] = set()
    drawn = []
    for query, code in pairs:
        if NAME.search(code) and seen.isdisjoint((query, code)):
            seen.update((query, code))
            drawn.append((query, code))
    return drawn[:count]


def with_names(drawn: list[tuple[str, str]], names: str) -> Pairs:
    """names: `kept` or `masked`."""
    if names == "masked":
        # The code starts with the function's definition, or with its decorators.
        own = [NAME.findall(code)[0] for _, code in drawn]
        drawn = [(mask(query, name), mask(code, name)) for (query, code), name in zip(drawn, own, strict=True)]
    queries, codes = zip(*drawn, strict=True)
    return Pairs("functions", "code", queries, codes)


def measure(scores: np.ndarray) -> dict[str, float]:
    """MRR and recall@1 of scores (n, n); candidates with the score of the right one rank before it."""
    ranks = (scores >= np.diag(scores)[:, None]).sum(axis=1)
    return {"mrr": round(float((1 / ranks).mean()), 4), "recall_at_1": round(float((ranks == 1).mean()), 4)}


if __name__ == "__main__":
    main()
