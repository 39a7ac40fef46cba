"""How well sections of documentation are found by their titles: nDCG@10 of `pocket` in an index, MiniLM and BM25.

    apt-get install python3.11-doc sqlite3-doc postgresql-doc-15
    pip install bm25s
    python benchmarks/retrieval_quality.py [--sections 250] [--passage-size 1000] [--manuals python,sqlite]

The HTML is cut by `jina_embeddings.apps.documents`. A question is a section's own heading, without its number, if no
other section has it; its answer is that section. Passages are the text of all sections, without any title; a section
scores what its best passage scores. All systems get the same passages, few of them longer than the 256 tokens that
MiniLM reads. The index is searched by vectors, by words and by both, and with multi-vectors as the second stage over 50
candidates, stored in several ways. `pocket` was trained on Python's manual; SQLite's and PostgreSQL's were held out.
PostgreSQL's is for development and no part of the result. Of a manual with more sections than are asked for, so
many are drawn at random, and the others are left out altogether.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from from_tools import write_result
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.documents.cutting import read_text
from jina_embeddings.apps.documents.html import html_sections
from jina_embeddings.apps.documents.sections import Section, cut
from jina_embeddings.apps.index import Passage, SearchOptions
from jina_embeddings.apps.index.fingerprint import Fingerprint
from jina_embeddings.apps.index.multivectors import bytes_per_token
from jina_embeddings.apps.index.rows import Placed
from jina_embeddings.apps.index.search import Question, find
from jina_embeddings.apps.index.store import Store
from jina_embeddings.errors import InputError
from jina_embeddings.types import MultivectorFormat
from jina_embeddings.vectors.token_pooling import pool_tokens
from quality.baselines import Teacher, bm25

SHARE = Path(os.environ.get("DOCUMENTATION", "/usr/share/doc"))
MANUALS = {
    "python": (SHARE / "python3.11/html", r"(library|reference|tutorial|howto|c-api|faq|extending|using)/.*\.html"),
    "postgresql": (SHARE / "postgresql-doc-15/html", r"(?!release|biblio|index|bookindex|legalnotice).*\.html"),
    "sqlite": (SHARE / "sqlite3", r"(?!.*(toc|index|changes|chronology|releaselog|news)).*\.html"),
}
NUMBER = re.compile(r"^\d+(\.\d+)*\.?\s+")
LEAST_CHARACTERS = 100
DEPTH = 10
DEPTH_READ = 50
STORED: dict[str, tuple[MultivectorFormat, int]] = {
    "float16": ("float16", 1),
    "int8": ("int8", 1),
    "binary": ("binary", 1),
    "float16 pooled by 2": ("float16", 2),
    "float16 pooled by 4": ("float16", 4),
}
"""Number format of the stored multi-vectors, and token pooling."""
WAYS = {
    **{mode: SearchOptions(mode=mode) for mode in ("dense", "words", "hybrid")},
    "rerank of hybrid, float16": SearchOptions(mode="hybrid", rerank=True),
    "first stage by multi-vectors": SearchOptions(first_stage="multivector"),
}

SEED = 0


@dataclass(frozen=True)
class Manual:
    """starts: of each section among the passages. answers: the section that each question belongs to."""

    passages: list[str]
    starts: list[int]
    questions: list[str]
    answers: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=250, help="most sections of a manual")
    parser.add_argument("--passage-size", type=int, default=1000, help="most characters of a passage")
    parser.add_argument("--manuals", default="python,sqlite", help="comma-separated")
    parser.add_argument("--name", default="retrieval_quality", help="of the result's file")
    arguments = parser.parse_args()
    model = JinaEmbeddings("pocket", engine="torch", task="retrieval")
    found: dict[str, Any] = {}
    for name in arguments.manuals.split(","):
        manual = read_manual(name, arguments.sections, arguments.passage_size)
        found[name] = {"sections": len(manual.starts), "passages": len(manual.passages)}
        found[name] |= {"questions": len(manual.questions), "systems": {}}
        for system, figures in chain(baselines(manual), searched(model, manual)):
            print(name, system, figures, file=sys.stderr)
            found[name]["systems"][system] = figures
            # After each, so that a run that is stopped has said something.
            write_result(arguments.name, {"passage_size": arguments.passage_size, "manuals": found})


def baselines(manual: Manual) -> Iterator[tuple[str, dict[str, float]]]:
    minilm = Teacher()

    def mini(questions: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        return minilm.encode(questions) @ minilm.encode(passages).T

    for system, rank in {"bm25": bm25, "all-MiniLM-L6-v2": mini}.items():
        scores = np.maximum.reduceat(rank(manual.questions, manual.passages), manual.starts, axis=1)
        right = scores[np.arange(len(manual.answers)), manual.answers][:, None]
        # Equal scores count as before the answer's.
        yield system, measure((scores >= right).sum(axis=1))


def searched(model: JinaEmbeddings, manual: Manual) -> Iterator[tuple[str, dict[str, float]]]:
    """Figures of every way to search an index of `pocket`."""
    embed = partial(model.encode, task="retrieval", return_both=True)
    passages = embed(manual.passages, prompt_name="passage")
    questions = embed(manual.questions, prompt_name="query")
    asked = [Question(*parts) for parts in zip(manual.questions, *questions, strict=True)]
    section_of = np.searchsorted(manual.starts, np.arange(len(manual.passages)), side="right") - 1
    for name, (number_format, pooling) in STORED.items():
        with tempfile.TemporaryDirectory() as folder:
            made_with = Fingerprint.of(
                model, "retrieval", None, "files", multivector=number_format, token_pooling=pooling
            )
            store = Store.create(folder, made_with)
            parts = enumerate(zip(manual.passages, *passages, strict=True))
            placed = [
                Placed(Passage(str(n), "text", text), str(n), 0, 1, dense, pool_tokens(tokens, pooling))
                for n, (text, dense, tokens) in parts
            ]
            store.write(placed, new=True)
            store.tidy()
            ways = dict(WAYS) if name == "float16" else {}
            for way, options in {**ways, f"rerank, {name}": SearchOptions(mode="dense", rerank=True)}.items():
                options = replace(options, limit=DEPTH_READ)
                ranks = []
                for question, answer in zip(asked, manual.answers, strict=True):
                    hits = find(store, question, options, lambda hits: [])
                    ranks.append(rank_of(answer, [int(section_of[int(hit.passage.path)]) for hit in hits]))
                figures = measure(np.array(ranks))
                if way.startswith("rerank, "):
                    figures["multivector_bytes_per_passage"] = bytes_of(placed, number_format)
                yield way, figures


def bytes_of(placed: Sequence[Placed], number_format: str) -> float:
    tokens = [one.multivector for one in placed if one.multivector is not None]
    return round(sum(map(len, tokens)) * bytes_per_token(number_format, tokens[0].shape[1]) / len(placed), 1)


def rank_of(answer: int, sections: Sequence[int]) -> int:
    """From 1, of a section among those that passages in their order belong to."""
    order = list(dict.fromkeys(sections))
    return order.index(answer) + 1 if answer in order else DEPTH + 1


def read_manual(name: str, most: int, passage_size: int) -> Manual:
    folder, wanted = MANUALS[name]
    paths = [path for path in sorted(folder.rglob("*.html")) if re.fullmatch(wanted, str(path.relative_to(folder)))]
    if not paths:
        raise SystemExit(f"{folder} holds no manual: see the beginning of this file")
    sections: list[tuple[str, list[str]]] = []
    for path in paths:
        try:
            read = html_sections(read_text(str(path), "html"))
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


def measure(ranks: np.ndarray) -> dict[str, float]:
    """nDCG@10, and recall@1 and @10, of the answers' ranks (questions,), from 1."""
    gains = np.where(ranks <= DEPTH, 1 / np.log2(1 + ranks), 0.0)
    return {
        "ndcg_at_10": round(float(gains.mean()), 4),
        "recall_at_1": round(float((ranks == 1).mean()), 4),
        "recall_at_10": round(float((ranks <= DEPTH).mean()), 4),
    }


if __name__ == "__main__":
    main()
