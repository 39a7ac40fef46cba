"""The smallest call for which the packed path is faster than the scheduler: milliseconds of calls of 1 to 64 texts.

    python benchmarks/call_sizes.py [--models pocket,FOLDER] [--rounds 15]

One caller, texts of 27 tokens, the two paths in turns on one engine. `tiny` is an untrained checkpoint with which next
to all the time is overhead. `measure` is also a stage of `throughput.py`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from from_tools import make_checkpoint, write_result
from texts import docstrings

SIZES = (1, 2, 4, 8, 16, 32, 64)
PATHS = ("packed", "scheduled")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", default="tiny,pocket", help="comma-separated: tiny, a bundled model, or a folder")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()

    from jina_embeddings import JinaEmbeddings
    from jina_embeddings.checkpoint import open_checkpoint
    from jina_embeddings.engine.choice import load_engine
    from jina_embeddings.options import make_options

    texts = docstrings(2000)
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.models.split(","):
            folder = tiny(Path(scratch)) if name == "tiny" else name
            engine: Any = load_engine("vllm", open_checkpoint(folder), make_options({}, "vllm"))
            with JinaEmbeddings(folder, engine=engine) as model:

                def run(some: Sequence[str], path: str, model: JinaEmbeddings = model, engine: Any = engine) -> None:
                    engine.path = path
                    model.encode_text(some, max_length=27)

                figures[name] = measure(run, texts, arguments.rounds)
    write_result("call_sizes", {"models": figures})


def tiny(scratch: Path) -> Path:

    return make_checkpoint(scratch / "tiny", dtype="float32")


def measure(run: Callable[[Sequence[str], str], Any], texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """The median milliseconds of a call by size and path, and the smallest size for which packing is as fast."""
    rows = []
    start = 0
    for size in SIZES:
        seconds: dict[str, list[float]] = {path: [] for path in PATHS}
        for round_ in range(rounds + 2):
            for path in PATHS:
                # Different texts each time, as results of equal ones may be cached.
                some = [texts[(start + i) % len(texts)] for i in range(size)]
                start += size
                began = time.perf_counter()
                run(some, path)
                if round_ >= 2:  # earlier rounds are for warming up
                    seconds[path].append(time.perf_counter() - began)
        rows.append(
            {"texts": size, **{f"{path}_ms": round(1000 * statistics.median(seconds[path]), 3) for path in PATHS}}
        )
    slower = [row["texts"] for row in rows if row["packed_ms"] > row["scheduled_ms"]]
    faster_from = next((size for size in SIZES if all(size > other for other in slower)), None)
    return {"rows": rows, "packed_is_as_fast_from": faster_from}


if __name__ == "__main__":
    main()
