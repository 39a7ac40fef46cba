"""Size of an index with stored multi-vectors, the time to write it, and the time of a search that ranks by them.

    apt-get install python3.11-doc
    python benchmarks/multivector_speed.py [--passages 100000] [--pages 2000] [--queries 200] [--formats float16,binary]

Passages are the texts of Python's manual, over and over, each with as many tokens as it has for `pocket`; pages have
750 tokens and no text. The vectors are drawn at random, and nothing is embedded: time and size depend on how many there
are alone. Questions are three words of a passage, with random vectors. A search goes from these to ten hits;
`second stage` is the part of it that ranks 50 candidates by MaxSim. Each index is in the result once it is measured.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from from_tools import write_result
from index_speed import quantiles
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Passage
from jina_embeddings.apps.index.fingerprint import Fingerprint
from jina_embeddings.apps.index.multivectors import bytes_per_token
from jina_embeddings.apps.index.rows import Placed
from jina_embeddings.apps.index.search import CANDIDATES, Question, SearchOptions, find
from jina_embeddings.apps.index.store import Store
from jina_embeddings.vectors.similarity import normalize
from retrieval_quality import read_manual

DIM = 128
POOL_TOKENS = 500_000
PAGE_TOKENS = 750
QUERY_TOKENS = 16
WRITE_TOKENS = 500_000
"""As `Index.update` writes."""

WAYS = {
    "dense": SearchOptions(mode="dense"),
    "hybrid": SearchOptions(mode="hybrid"),
    "dense, second stage": SearchOptions(mode="dense", rerank=True),
    "hybrid, second stage": SearchOptions(mode="hybrid", rerank=True),
    "first stage by multi-vectors": SearchOptions(first_stage="multivector"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--formats", default="float16,int8,binary", help="comma-separated")
    parser.add_argument("--first-stage-queries", type=int, default=5, help="by multi-vectors, which takes longer")
    parser.add_argument("--name", default="multivector_speed", help="of the result's file")
    arguments = parser.parse_args()
    sets = {"passages": passages(arguments.passages), "pages": [("", PAGE_TOKENS)] * arguments.pages}
    found: list[dict[str, Any]] = []
    for kind, items in sets.items():
        for number_format in arguments.formats.split(","):
            if items:
                load = {"load_before": round(os.getloadavg()[0], 1)}
                measured = measure(items, number_format, arguments.queries, arguments.first_stage_queries)
                found.append({"of": kind, **load, **measured})
                print(found[-1], file=sys.stderr)
                write_result(arguments.name, {"indices": found})


def passages(num: int) -> list[tuple[str, int]]:
    """So many texts of the manual, with the number of their tokens."""
    if not num:
        return []
    texts = read_manual("python", 10**6, 1000).passages
    with JinaEmbeddings("pocket", engine="torch", task="retrieval") as model:
        lengths = model.count_tokens(texts)
    return [(texts[n % len(texts)], lengths[n % len(texts)]) for n in range(num)]


def measure(
    items: Sequence[tuple[str, int]], number_format: str, num_queries: int, num_first_stage: int
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    pool = drawn(rng, POOL_TOKENS)
    made_with = Fingerprint(
        "made up", None, "retrieval", DIM, "files", [1.0], multivector=number_format, multivector_dim=DIM
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(folder, made_with)
        began = time.perf_counter()
        for rows in written_together(items, pool, rng):
            store.write(rows, new=True)
        written = time.perf_counter()
        store.tidy()
        tidied = time.perf_counter()
        before_bytes = store.describe()["size_bytes"]
        extra = [("one more", 20)]
        store.write(list(placed(extra, pool, rng, len(items))), new=True)
        began_update = time.perf_counter()
        store.tidy()
        updated = time.perf_counter()
        # As the next update does ten minutes later.
        store._table.optimize(cleanup_older_than=timedelta(milliseconds=1))
        num_tokens = sum(length for _, length in items)
        return {
            "format": number_format,
            "num": len(items),
            "tokens": num_tokens,
            "candidates": CANDIDATES,
            "multivector_bytes": num_tokens * bytes_per_token(number_format, DIM),
            "size_bytes": store.describe()["size_bytes"],
            "size_bytes_for_ten_minutes": before_bytes,
            "write_s": round(written - began, 1),
            "build_s": round(tidied - written, 1),
            "tidy_after_one_more_s": round(updated - began_update, 2),
            **searched(store, items, pool, num_queries, num_first_stage),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def searched(
    store: Store, items: Sequence[tuple[str, int]], pool: np.ndarray, num_queries: int, num_first_stage: int
) -> dict[str, Any]:
    rng, chooser = np.random.default_rng(1), random.Random(0)
    times: dict[str, list[float]] = {}
    for way, options in WAYS.items():
        if options.mode == "hybrid" and not items[0][0]:
            continue
        times[way] = []
        for _ in range(num_queries if options.first_stage == "dense" else num_first_stage):
            words = chooser.choice(items)[0].split() or [""]
            place = int(rng.integers(len(pool) - QUERY_TOKENS))
            question = Question(
                " ".join(chooser.choices(words, k=3)), drawn(rng, 1)[0], pool[place : place + QUERY_TOKENS]
            )
            began = time.perf_counter()
            find(store, question, options, lambda hits: [])
            times[way].append(time.perf_counter() - began)
    second_stage, processor_s = [], 0.0
    for number in range(num_queries):
        hits = store.search(drawn(rng, 1)[0], CANDIDATES)
        processor_began, began = time.process_time(), time.perf_counter()
        store.maxsim(pool[number : number + QUERY_TOKENS], hits)
        second_stage.append(time.perf_counter() - began)
        processor_s += time.process_time() - processor_began
    times["second stage alone"] = second_stage
    return {
        **{f"{key}_ms": quantiles(times, share) for key, share in (("p10", 0.1), ("median", 0.5), ("p95", 0.95))},
        "second_stage_processor_ms": round(1e3 * processor_s / num_queries, 2),
    }


def written_together(
    items: Sequence[tuple[str, int]], pool: np.ndarray, rng: np.random.Generator
) -> Iterator[list[Placed]]:
    rows: list[Placed] = []
    num_tokens = 0
    for row in placed(items, pool, rng, 0):
        rows.append(row)
        num_tokens += len(row.multivector) if row.multivector is not None else 0
        if num_tokens >= WRITE_TOKENS:
            yield rows
            rows, num_tokens = [], 0
    if rows:
        yield rows


def placed(
    items: Sequence[tuple[str, int]], pool: np.ndarray, rng: np.random.Generator, start: int
) -> Iterator[Placed]:
    """Makes a document with one passage of each text, or page, with so many tokens."""
    for number, (text, length) in enumerate(items, start):
        place = int(rng.integers(len(pool) - length))
        image = "" if text else f"{number:07}.png"
        passage = Passage(f"/documents/{number:07}.txt", "text" if text else "page", text, image=image)
        yield Placed(passage, str(number), 0, 1, drawn(rng, 1)[0], pool[place : place + length])


def drawn(rng: np.random.Generator, num: int) -> np.ndarray:
    """Draws vectors evenly from the sphere, (num, DIM)."""
    return normalize(rng.standard_normal((num, DIM), dtype=np.float32))


if __name__ == "__main__":
    main()
