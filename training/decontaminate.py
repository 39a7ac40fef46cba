"""Takes every row out of the training data that shares a run of words with an evaluation set.

    python training/decontaminate.py [--sets FILE] [--cache DIR]

Reads build/raw/{texts,pairs,pictures}-*.parquet and writes the rows that training may see under the same names into
build/; how many were left out goes into build/overlap.json, the sets into build/sets.json.gz. Pairs of words that
people judged and pictures that look like a held-out one are left out too. How texts are compared:
evaluation/shingles.py.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).resolve().parent / "sources"), str(Path(__file__).resolve().parents[1] / "benchmarks")]

from evaluation.collect import collect, load, save
from evaluation.heldout import heldout_pictures
from evaluation.overlap import Overlap, clean, training_files
from evaluation.packages import CACHE
from report import circumstances
from tables import BUILD, RAW


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, help="what `evaluate.py dump` wrote, instead of the packages")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    sets = load(options.sets) if options.sets else collect(options.cache, BUILD)
    if sets.skipped:
        raise SystemExit("\n".join(sets.skipped))
    save(sets, BUILD / "sets.json.gz")
    overlap = Overlap(sets, heldout_pictures(BUILD).images)
    result = {**circumstances(), "command": "python training/decontaminate.py", **leave_out(overlap, RAW, BUILD)}
    (BUILD / "overlap.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def leave_out(overlap: Overlap, raw: Path, target: Path) -> dict[str, Any]:
    """Cleans every file, several at a time; how much was met of each set, and left out of each file."""
    for path, _ in training_files(target):
        path.unlink()
    found = training_files(raw)
    files, met = {}, {name: set() for name in overlap.sizes}
    # Workers have to hash words alike, so they are forked.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, _remember, (overlap, target)) as pool:
        for (path, _), (rows, hits, seen) in zip(found, pool.map(_clean, found), strict=True):
            files[path.stem] = {"rows": rows, "left out": hits}
            for name, members in seen.items():
                met[name] |= members
            print(f"{path.stem}: {hits:,} of {rows:,} rows left out", flush=True)
    sets = {name: {"members": size, "met": len(met[name])} for name, size in overlap.sizes.items()}
    return {"sets": sets, "files": files}


_state: tuple[Overlap, Path]


def _remember(overlap: Overlap, target: Path) -> None:
    global _state
    _state = overlap, target


def _clean(file: tuple[Path, tuple[str, ...]]) -> tuple[int, int, dict[str, set[Any]]]:
    """Rows, rows left out, and by set the members met so far in this process."""
    (overlap, target), (path, columns) = _state, file
    hit = clean(overlap, path, columns, target / path.name)
    return len(hit), int(hit.sum()), overlap.seen


if __name__ == "__main__":
    main()
