"""Seconds from the start of Python to the first vector of `pocket`, imports included.

    python benchmarks/first_vector.py [--rounds 5]

Each run is a process of its own; the engines take turns with one that only imports torch, which none can do without.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from from_tools import write_result

EMBED = "from jina_embeddings import JinaEmbeddings; JinaEmbeddings('pocket', engine={!r}).encode_text('a')"
PROGRAMS = {"import torch": "import torch"} | {engine: EMBED.format(engine) for engine in ("torch", "transformers")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    # The first round fills the page cache.
    for number in range(arguments.rounds + 1):
        for name, program in PROGRAMS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            if number:
                seconds[name].append(round(time.perf_counter() - started, 2))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    write_result("first_vector", {"seconds": seconds, "median_seconds": medians})


if __name__ == "__main__":
    main()
