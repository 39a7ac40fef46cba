"""Sets that the training's own scripts hold out: Parquet files in `training/build`, absent on a fresh clone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .sets import Pairs, Pictures, Task

SEED = 20


class AbsentError(Exception):
    """A file that some other script makes isn't there; the message names both."""


def heldout_pairs(build: Path, part: str, task: Task, count: int = 300) -> Pairs:
    """A fixed sample of `heldout-PART.parquet`, with distinct queries and distinct passages."""
    rows = _sample(build / f"heldout-{part}.parquet", ("query", "passage"), count)
    return Pairs(f"heldout-{part}", task, tuple(r["query"] for r in rows), tuple(r["passage"] for r in rows))


def heldout_pictures(build: Path, count: int = 300) -> Pictures:
    """A fixed sample of `heldout-pictures.parquet`."""
    rows = _sample(build / "heldout-pictures.parquet", ("text", "image"), count)
    return Pictures("pictures", tuple(r["text"] for r in rows), tuple(r["image"] for r in rows))


def _sample(path: Path, distinct: tuple[str, str], count: int) -> list[dict[str, Any]]:
    if not path.is_file():
        raise AbsentError(f"{path.name} isn't in {path.parent}: run the scripts of training/sources first")
    seen: tuple[set[Any], set[Any]] = (set(), set())
    rows: list[dict[str, Any]] = []
    table = pq.read_table(path, columns=list(distinct))
    for index in np.random.default_rng(SEED).permutation(len(table)).tolist():
        row = table.slice(index, 1).to_pylist()[0]
        values = [row[column] for column in distinct]
        if any(value in known for value, known in zip(values, seen, strict=True)):
            continue
        for value, known in zip(values, seen, strict=True):
            known.add(value)
        rows.append(row)
        if len(rows) == count:
            break
    return rows
