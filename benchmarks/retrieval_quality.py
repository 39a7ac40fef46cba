"""How well sections of documentation are found by their titles: nDCG@10 of `pocket`, all-MiniLM-L6-v2 and BM25.

    apt-get install python3.11-doc sqlite3-doc
    pip install bm25s
    python benchmarks/retrieval_quality.py [--sections 1500] [--passage-size 1000]

The HTML is cut by `jina_embeddings.apps.documents`. A question is a section's own heading, without its number, if no
other section has it; its answer is that section. Passages are the text of all sections, without any title; a section
scores what its best passage scores. All systems get the same passages, few of them longer than the 256 tokens that
MiniLM reads. `pocket` was trained on Python's manual; SQLite's was held out. Of a manual with more sections than are
asked for, so many are drawn at random, and the others are left out altogether.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from from_tools import write_result
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.documents.cutting import read_text
from jina_embeddings.apps.documents.html import html_sections
from jina_embeddings.apps.documents.sections import Section, cut
from jina_embeddings.errors import InputError
from quality.baselines import Teacher, bm25

SHARE = Path("/usr/share/doc")
MANUALS = {
    "python": (SHARE / "python3.11/html", r"(library|reference|tutorial|howto|c-api|faq|extending|using)/.*\.html"),
    "sqlite": (SHARE / "sqlite3", r"(?!.*(toc|index|changes|chronology|releaselog|news)).*\.html"),
}
NUMBER = re.compile(r"^\d+(\.\d+)*\.?\s+")
LEAST_CHARACTERS = 100
DEPTH = 10
SEED = 0

Rank = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""From questions and passages to scores (questions, passages)."""


@dataclass(frozen=True)
class Manual:
    """starts: of each section among the passages. answers: the section that each question belongs to."""

    passages: list[str]
    starts: list[int]
    questions: list[str]
    answers: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=1500, help="most sections of a manual")
    parser.add_argument("--passage-size", type=int, default=1000, help="most characters of a passage")
    parser.add_argument("--manuals", default=",".join(MANUALS), help="comma-separated")
    arguments = parser.parse_args()
    model, minilm = JinaEmbeddings("pocket", engine="transformers", task="retrieval"), Teacher()

    def pocket(questions: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        queries = model.encode_text(list(questions), prompt_name="query")
        return np.asarray(queries @ model.encode_text(list(passages), prompt_name="passage").T)

    def mini(questions: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        return minilm.encode(questions) @ minilm.encode(passages).T

    systems: dict[str, Rank] = {"pocket": pocket, "bm25": bm25, "all-MiniLM-L6-v2": mini}
    found: dict[str, Any] = {}
    for name in arguments.manuals.split(","):
        manual = read_manual(name, arguments.sections, arguments.passage_size)
        found[name] = {"sections": len(manual.starts), "passages": len(manual.passages)}
        found[name] |= {"questions": len(manual.questions), "systems": {}}
        for system, rank in systems.items():
            scores = rank(manual.questions, manual.passages)
            figures = measure(np.maximum.reduceat(scores, manual.starts, axis=1), manual.answers)
            found[name]["systems"][system] = figures
            print(name, system, figures, file=sys.stderr)
    write_result("retrieval_quality", {"passage_size": arguments.passage_size, "manuals": found})


def read_manual(name: str, most: int, passage_size: int) -> Manual:
    folder, wanted = MANUALS[name]
    paths = [path for path in sorted(folder.rglob("*.html")) if re.fullmatch(wanted, str(path.relative_to(folder)))]
    if not paths:
        raise SystemExit(f"{folder} holds no manual: see the beginning of this file")
    sections: list[tuple[str, list[str]]] = []
    for path in paths:
        try:
            read = html_sections(read_text(str(path)))
        except InputError:
            continue
        for section in read:
            texts = [block.text for _, block in cut([Section("", section.blocks)], passage_size)]
            if sum(map(len, texts)) >= LEAST_CHARACTERS:
                sections.append((heading(section.title), texts))
    if len(sections) > most:
        sections = random.Random(SEED).sample(sections, most)
    num_with = Counter(title.lower() for title, _ in sections)
    asked = [number for number, (title, _) in enumerate(sections) if title and num_with[title.lower()] == 1]
    starts = np.cumsum([0, *(len(texts) for _, texts in sections)])[:-1]
    return Manual(
        [text for _, texts in sections for text in texts],
        starts.tolist(),
        [sections[number][0] for number in asked],
        asked,
    )


def heading(title: str) -> str:
    """
    >>> heading("The Python Tutorial > 4.2. for Statements")
    'for Statements'
    """
    return NUMBER.sub("", title.rpartition(" > ")[2]).strip()


def measure(scores: np.ndarray, answers: Sequence[int]) -> dict[str, float]:
    """nDCG@10, and recall@1 and @10, of scores (questions, sections); equal scores count as before the answer's."""
    right = scores[np.arange(len(answers)), answers][:, None]
    ranks = (scores >= right).sum(axis=1)
    gains = np.where(ranks <= DEPTH, 1 / np.log2(1 + ranks), 0.0)
    return {
        "ndcg_at_10": round(float(gains.mean()), 4),
        "recall_at_1": round(float((ranks == 1).mean()), 4),
        "recall_at_10": round(float((ranks <= DEPTH).mean()), 4),
    }


if __name__ == "__main__":
    main()
