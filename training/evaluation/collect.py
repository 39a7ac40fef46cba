"""All sets: from their packages and from `training/build`, or from one file that holds their texts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from .code import humaneval
from .declaration import LANGUAGES, declaration
from .heldout import AbsentError, heldout_pairs
from .questions import abstracts, boolq, pubmedqa
from .sets import Pairs, Sets, Words
from .words import word_pairs


def collect(cache: Path, build: Path, languages: Sequence[str] = LANGUAGES) -> Sets:
    """Every set whose data there is."""
    pairs = [boolq(cache), pubmedqa(cache), humaneval(cache), *declaration(cache, languages)]
    skipped: list[str] = []
    held_out: list[Callable[[], Pairs]] = [
        lambda: heldout_pairs(build, "code-python", "code"),
        lambda: heldout_pairs(build, "code-go", "code"),
        lambda: heldout_pairs(build, "docs", "retrieval"),
    ]
    for load in held_out:
        try:
            pairs.append(load())
        except AbsentError as reason:
            skipped.append(str(reason))
    return Sets(tuple(pairs), tuple(word_pairs(cache)), tuple(abstracts(cache, 300)), tuple(skipped))


def save(sets: Sets, path: Path) -> None:
    """All texts of the sets as one JSON file, gzipped: what a machine without a network needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # No time in the header: the same sets give the same bytes.
    path.write_bytes(gzip.compress(json.dumps(asdict(sets), ensure_ascii=False).encode(), mtime=0))


def load(path: Path) -> Sets:
    """What `save` wrote."""
    stored = json.loads(gzip.decompress(path.read_bytes()))
    return Sets(
        tuple(Pairs(p["name"], p["task"], tuple(p["queries"]), tuple(p["documents"])) for p in stored["pairs"]),
        tuple(Words(w["name"], *(tuple(w[key]) for key in ("first", "second", "scores"))) for w in stored["words"]),
        tuple(stored["pages"]),
        tuple(stored["skipped"]),
    )
