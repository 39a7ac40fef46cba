"""Takes every row out of the training data that shares a run of words with an evaluation set.

    python training/decontaminate.py [--sets FILE] [--build DIR] [--cache DIR]

Run it before prepare.py, and again when a source was made anew. It rewrites BUILD/{texts,pairs,pictures}-*.parquet in
place and prints how many rows each lost. How texts are compared: evaluation/shingles.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evaluation.collect import collect, load
from evaluation.overlap import Overlap, remove
from evaluation.packages import CACHE

BUILD = Path(__file__).resolve().parent / "build"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, help="what `evaluate.py dump` wrote, instead of the packages")
    parser.add_argument("--build", type=Path, default=BUILD)
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    overlap = Overlap(load(options.sets) if options.sets else collect(options.cache, options.build))
    for path, hit in overlap.scan(options.build):
        if hit.any():
            remove(path, hit)
        print(f"{path.stem}: {int(hit.sum()):,} of {len(hit):,} rows removed", flush=True)


if __name__ == "__main__":
    main()
