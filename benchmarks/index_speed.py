"""How fast an index of 100,000 passages is searched, and how much of indexing is the engine's work.

    apt-get install python3.11-doc
    python benchmarks/index_speed.py [--parts dense,indexing] [--sizes 100000x128] [--queries 200]

Search is timed without the embedding of the question, from its vector to passages, over vectors that are drawn evenly
from the sphere (the worst case for an approximate index) and over vectors around 1,000 topics, as embeddings are.
Questions are vectors of the index, turned to a cosine of about 0.8. Recall is that of the approximate index among the
ten that the exact search finds. Beside the time of a search stands what all of its threads took of the processor, which
other work on the machine changes less. Indexing is timed over HTML that nobody made for it, with `pocket`. Each part
has a result file of its own; `multivector_speed.py` measures multi-vectors.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from from_tools import write_result
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Passage
from jina_embeddings.apps.index.fingerprint import Fingerprint
from jina_embeddings.apps.index.rows import Placed
from jina_embeddings.apps.index.store import Store
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.checkpoint import Checkpoint, open_checkpoint
from jina_embeddings.engine.transformers import TransformersEngine
from jina_embeddings.options import Options, make_options
from jina_embeddings.vectors.similarity import normalize

if TYPE_CHECKING:
    from jina_embeddings.types import FloatArray, Prepared

LANGUAGES = ("en", "de", "fr", "ja")
TOPICS = 1000
LIMIT = 10
BATCH = 10_000
DOCUMENTS = Path("/usr/share/doc/python3.11/html/howto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="dense,indexing", help="comma-separated")
    parser.add_argument("--sizes", default="100000x128,100000x384,50000x1024,400000x128", help="of the dense part")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--documents", type=Path, default=DOCUMENTS)
    arguments = parser.parse_args()
    load_before = {"load_before": round(os.getloadavg()[0], 1)}
    sizes = [tuple(map(int, size.split("x"))) for size in arguments.sizes.split(",")]
    for part in arguments.parts.split(","):
        if part == "dense":
            found = [
                searched(kind, dim, many, arguments.queries) for many, dim in sizes for kind in ("clustered", "random")
            ]
            write_result("index_speed", {**load_before, "searches": found})
        else:
            write_result("indexing_speed", {**load_before, **indexed(arguments.documents)})


def searched(kind: str, dim: int, num_vectors: int, num_queries: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    vectors = make_vectors(rng, kind, num_vectors, dim)
    chosen = vectors[rng.integers(num_vectors, size=num_queries)]
    queries = normalize(0.8 * chosen + 0.6 * normalize(rng.standard_normal((num_queries, dim), dtype=np.float32)))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(folder, Fingerprint("made up", None, "retrieval", dim, "files", [1.0]))
        began = time.perf_counter()
        for start in range(0, num_vectors, BATCH):
            store.write(placed(vectors[start : start + BATCH], start), new=True)
        written = time.perf_counter()
        store.tidy()
        tidied = time.perf_counter()
        ways: dict[str, dict[str, Any]] = {
            "approximate": {},
            "approximate, one language": {"where": "array_has(metadata, 'language=de')"},
            "exact": {"exact": True},
        }
        found, times, processor_ms = {}, {}, {}
        for name, options in ways.items():
            store.search(queries[0], LIMIT, **options)
            processor_s = time.process_time()
            found[name], times[name] = zip(*(timed(store, query, options) for query in queries), strict=True)
            processor_ms[name] = round(1e3 * (time.process_time() - processor_s) / len(queries), 2)
        return {
            "vectors": kind,
            "num": num_vectors,
            "dim": dim,
            "is_approximate": store.is_approximate,
            "write_s": round(written - began, 2),
            "build_s": round(tidied - written, 2),
            **{f"{key}_ms": quantiles(times, share) for key, share in (("p10", 0.1), ("median", 0.5), ("p95", 0.95))},
            "processor_ms": processor_ms,
            "recall_at_10": round(float(np.mean(list(map(recall, found["approximate"], found["exact"])))), 4),
        }


def quantiles(times: Mapping[str, Sequence[float]], share: float) -> dict[str, float]:
    return {name: round(1e3 * float(np.quantile(took, share)), 2) for name, took in times.items()}


def timed(store: Store, query: np.ndarray, options: dict[str, Any]) -> tuple[set[str], float]:
    began = time.perf_counter()
    hits = store.search(query, LIMIT, **options)
    return {hit.passage.path for hit in hits}, time.perf_counter() - began


def recall(found: set[str], expected: set[str]) -> float:
    return len(found & expected) / len(expected)


def make_vectors(rng: np.random.Generator, kind: str, num: int, dim: int) -> np.ndarray:
    noise = normalize(rng.standard_normal((num, dim), dtype=np.float32))
    if kind == "random":
        return noise
    topics = normalize(rng.standard_normal((TOPICS, dim), dtype=np.float32))
    return normalize(topics[rng.integers(TOPICS, size=num)] + noise)


def placed(vectors: np.ndarray, start: int) -> list[Placed]:
    """Makes a document with one passage of 800 characters of each vector."""
    return [
        Placed(
            Passage(
                f"/documents/{number:07}.txt",
                "text",
                (f"{number} " * 800)[:800],
                end=800,
                line=1,
                end_line=10,
                metadata={"language": LANGUAGES[number % len(LANGUAGES)]},
            ),
            str(number),
            0,
            1,
            vector,
        )
        for number, vector in enumerate(vectors, start)
    ]


def indexed(documents: Path) -> dict[str, Any]:
    """Measures making an index, and updating it when nothing has changed."""
    engine = Timed(open_checkpoint("pocket"), make_options({}, "transformers"))
    with tempfile.TemporaryDirectory() as folder, JinaEmbeddings("pocket", engine=engine) as model:
        began = time.perf_counter()
        index, summary = index_files([documents], folder, model)
        took = time.perf_counter() - began
        in_engine = engine.busy_seconds()
        began = time.perf_counter()
        _, again = index_files([documents], folder, model)
        return {
            "documents": summary.documents,
            "passages": len(index),
            "seconds": round(took, 2),
            "passages_per_s": round(len(index) / took, 1),
            "share_in_engine": round(in_engine / took, 4),
            "again_seconds": round(time.perf_counter() - began, 2),
            "again_embedded": again.embedded,
        }


class Timed(TransformersEngine):
    """An engine that measures how long it has had something to do."""

    def __init__(self, checkpoint: Checkpoint, options: Options):
        super().__init__(checkpoint, options)
        self._spans: list[tuple[float, float]] = []

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        began = time.perf_counter()
        result = super().run(batch, batch_size=batch_size, call_size=call_size)
        self._spans.append((began, time.perf_counter()))
        return result

    def busy_seconds(self) -> float:
        """Seconds in calls; calls that overlap count once."""
        total = last = 0.0
        for began, ended in sorted(self._spans):
            total += max(0.0, ended - max(began, last))
            last = max(last, ended)
        return total


if __name__ == "__main__":
    main()
