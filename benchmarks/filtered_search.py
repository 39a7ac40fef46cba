"""How many passages of one path a filtered search finds if only a part of the approximate index is read.

    python benchmarks/filtered_search.py [--vectors 60000] [--queries 100]

Ten passages a path; each question is a random vector and asks for the ten of one path. An index of this size would be
read whole, so the numbers that a search reads are lowered until it reads a quarter of the partitions: what happens at
any size beyond `approximate.READ_NUMBERS`. The search is also measured without each of its two measures against that.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from from_tools import write_result
from index_speed import BATCH, make_vectors, placed
from jina_embeddings.apps.index import approximate
from jina_embeddings.apps.index import store as stores
from jina_embeddings.apps.index.fingerprint import Fingerprint
from jina_embeddings.apps.index.store import Store

DIM = 128
PASSAGES_PER_PATH = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    load_before = round(os.getloadavg()[0], 1)
    partitions = -(-arguments.vectors // approximate._PARTITION_ROWS)
    with (
        mock.patch.object(approximate, "READ_NUMBERS", arguments.vectors * DIM // 4),
        tempfile.TemporaryDirectory() as folder,
    ):
        store = filled(folder, arguments.vectors)
        ways = {}
        for name, way in (("as it is", as_it_is), ("probes extended only", extended), ("neither", bounded)):
            with way():
                ways[name] = searched(store, arguments.queries, arguments.vectors)
    write_result(
        "filtered_search",
        {
            "load_before": load_before,
            "vectors": arguments.vectors,
            "dim": DIM,
            "partitions": partitions,
            "passages_of_a_path": PASSAGES_PER_PATH,
            "queries": arguments.queries,
            "ways": ways,
        },
    )


def filled(folder: str, num: int) -> Store:
    store = Store.create(folder, Fingerprint("made up", None, "retrieval", DIM, "files", [1.0]))
    vectors = make_vectors(np.random.default_rng(0), "clustered", num, DIM)
    for start in range(0, num, BATCH):
        store.write(placed(vectors[start : start + BATCH], start), new=True)
    store.tidy(ann_numbers=1)
    return store


def searched(store: Store, num_queries: int, num: int) -> dict[str, float]:
    """Returns the mean and the least number found of the ten, and the median time."""
    rng = np.random.default_rng(1)
    found, times = [], []
    for query in make_vectors(rng, "random", num_queries, DIM):
        first = int(rng.integers(num - PASSAGES_PER_PATH))
        where = f"path BETWEEN '/documents/{first:07}.txt' AND '/documents/{first + PASSAGES_PER_PATH - 1:07}.txt'"
        began = time.perf_counter()
        found.append(len(store.search(query, PASSAGES_PER_PATH, where)))
        times.append(time.perf_counter() - began)
    median = round(1e3 * float(np.median(times)), 2)
    return {"found_mean": round(float(np.mean(found)), 2), "found_min": min(found), "median_ms": median}


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


@contextmanager
def extended() -> Iterator[None]:
    """The search without comparing exactly if few rows match."""
    with mock.patch.object(stores.Store, "_few_match", return_value=False):
        yield


@contextmanager
def bounded() -> Iterator[None]:
    """The same, and reading no more partitions than without a filter."""
    from lancedb.query import LanceVectorQueryBuilder as Query

    def keep(query: Any, count: int) -> Any:
        return query.nprobes(query._minimum_nprobes)

    with extended(), mock.patch.object(Query, "maximum_nprobes", keep):
        yield


if __name__ == "__main__":
    main()
