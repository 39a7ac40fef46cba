"""Draws emoji, icons and clip art with their names: BUILD/raw/pictures-SOURCE.parquet and BUILD/heldout-pictures.parquet.

    python training/sources/icons.py [--cache DIR]

Needs apt-get, dpkg-deb, npm, fonttools, resvg-py and a Pillow with Raqm.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, defaultdict
from pathlib import Path

from icon_sets import LICENCES, PACKAGES, SETS
from packages import CACHE
from picture_files import Picture, write
from tables import BUILD, RAW, write_record

HELD_OUT = 300
LARGEST_HELD_OUT_GROUP = 6
SEED = 3


def distinct(pictures: list[Picture]) -> list[Picture]:
    """Without pictures that were there before: the first name of a drawing stays."""
    return list({one.image: one for one in reversed(pictures)}.values())[::-1]


def held_out_groups(pictures: list[Picture]) -> set[str]:
    """Things whose pictures, of all sources together, are about HELD_OUT."""
    sizes = Counter(one.group for one in pictures)
    groups = sorted(group for group, size in sizes.items() if size <= LARGEST_HELD_OUT_GROUP)
    random.Random(SEED).shuffle(groups)
    chosen: set[str] = set()
    count = 0
    for group in groups:
        if count + sizes[group] <= HELD_OUT:
            chosen.add(group)
            count += sizes[group]
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw emoji, icons and clip art with their names.")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    pictures = distinct([one for read in SETS for one in read(options.cache)])
    held = held_out_groups(pictures)
    by_source: dict[str, list[Picture]] = defaultdict(list)
    for one in pictures:
        if one.group not in held:
            by_source[one.source].append(one)
    write(BUILD / "heldout-pictures.parquet", [one for one in pictures if one.group in held])
    for source, kept in by_source.items():
        path = RAW / f"pictures-{source}.parquet"
        write(path, kept)
        write_record(
            "icons",
            f"pictures-{source}",
            {PACKAGES[source]: LICENCES[source]},
            "pictures with names and tags",
            len(kept),
        )
        print(f"{source}: {len(kept):,} pictures, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
