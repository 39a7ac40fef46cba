"""Deduplication of a million vectors: time, memory, and the recall of planted duplicates.

    python benchmarks/deduplication.py [--vectors 1000000] [--dim 256]

The vectors are drawn around topics; one in ten is a copy of one before it, turned to a cosine of 0.9 to 0.99 with it.
They are in a file that is mapped, as `jina-embeddings dedup vectors.npy` has them. Peak memory is that of the whole
process, the pages of the file included. Paraphrase mining is held to brute force over the first 50,000 of them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from from_tools import write_result
from jina_embeddings.apps.matching import deduplicate, mine_paraphrases
from jina_embeddings.vectors.similarity import normalize

THRESHOLD = 0.9
SHARE = 0.1
TOPICS = 20_000
PARAPHRASE_VECTORS = 50_000
BLOCK = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        copies = make_vectors(path, arguments.vectors, arguments.dim)
        vectors = np.load(path, mmap_mode="r")
        start = time.perf_counter()
        found = deduplicate(vectors, THRESHOLD)
        took = time.perf_counter() - start
        peak = peak_bytes()
        removed = found.representatives != np.arange(len(vectors))
        figures: dict[str, Any] = {
            "vectors": len(vectors),
            "dim": arguments.dim,
            "threshold": THRESHOLD,
            "duplicates_put_in": len(copies),
            "duplicates_found_share": float(removed[copies].mean()),
            "removed_others_share": float(removed[np.setdiff1d(np.arange(len(vectors)), copies)].mean()),
            "seconds": took,
            "peak_gib": peak / 2**30,
        }
        figures["paraphrases"] = paraphrases(np.array(vectors[:PARAPHRASE_VECTORS]))
    write_result("deduplication", figures)


def make_vectors(path: Path, num_vectors: int, dim: int) -> np.ndarray:
    """Writes the vectors to a file, and returns the rows that are copies."""
    rng = np.random.default_rng(0)
    topics = normalize(rng.standard_normal((TOPICS, dim), dtype=np.float32))
    open_memmap: Any = np.lib.format.open_memmap
    file = open_memmap(path, mode="w+", dtype=np.float32, shape=(num_vectors, dim))
    copies = []
    for start in range(0, num_vectors, BLOCK):
        count = min(BLOCK, num_vectors - start)
        noise = normalize(rng.standard_normal((count, dim), dtype=np.float32))
        block = normalize(0.7 * topics[rng.integers(TOPICS, size=count)] + 0.7 * noise)
        if start:
            rows = np.flatnonzero(rng.random(count) < SHARE)
            originals = np.array(file[rng.integers(start, size=len(rows))])
            cosines = rng.uniform(THRESHOLD + 0.002, 0.99, size=(len(rows), 1)).astype(np.float32)
            across = noise[rows] - np.einsum("ij,ij->i", noise[rows], originals)[:, None] * originals
            block[rows] = cosines * originals + np.sqrt(1 - cosines**2) * normalize(across)
            copies.append(rows + start)
        file[start : start + count] = block
    file.flush()
    return np.concatenate(copies)


def paraphrases(vectors: np.ndarray) -> dict[str, Any]:
    """The recall of approximate paraphrase mining, compared with all pairs."""
    results: dict[str, Any] = {"vectors": len(vectors), "pairs": 2000}
    found = {}
    for name, exact in (("exact", True), ("approximate", False)):
        start = time.perf_counter()
        found[name] = {(pair.left, pair.right) for pair in mine_paraphrases(vectors, limit=2000, exact=exact)}
        results[f"{name}_seconds"] = time.perf_counter() - start
    results["recall"] = len(found["exact"] & found["approximate"]) / len(found["exact"])
    return results


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
