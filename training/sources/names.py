"""Names of people, films, songs, books, places and animals, which encyclopaedias are full of:  python training/sources/names.py

Writes build/raw/texts-names.parquet and records for DATA.md. `prepare.py` makes words of them, for texts that are made up.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packages import CACHE, fetch, members
from tables import text, write_record, write_texts

FAKER = "npm:@faker-js/faker@10.6.0"
FILMS = "npm:vega-datasets@3.2.1"
PEOPLE = "pip:names==0.3.0"
LICENCES = {FAKER: "MIT", FILMS: "BSD-3-Clause", PEOPLE: "MIT (names of the US census: public domain)"}
LISTS = {
    "music": ("artist", "album", "song_name", "genre"),
    "book": ("title", "author", "series", "publisher"),
    "location": ("city_name", "country", "state", "county"),
    "food": ("dish", "ingredient", "ethnic_category"),
    "vehicle": ("manufacturer", "model"),
    "animal": ("bird", "cat", "cetacean", "dog", "fish", "horse", "insect", "rodent", "snake"),
}
SCRIPT = "import('./index.js').then(faker => process.stdout.write(JSON.stringify(faker.en)))"
SURNAMES, WHOLE_NAMES = 20_000, 20_000
LONGEST = 60


def invented(cache: Path) -> Iterator[tuple[str, str]]:
    """Group and name, of the lists that a generator of sample data chooses from."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fetch(FAKER, cache)) as archive:
        # Python 3.11 has the filter from 3.11.4 on.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
        found = subprocess.run(
            ["node", "-e", SCRIPT], cwd=Path(folder, "package", "dist"), capture_output=True, check=True
        )
    locale = json.loads(found.stdout)
    for kind, names in LISTS.items():
        for name in names:
            yield from ((f"faker/{kind}.{name}", one) for one in locale[kind][name])


def films(cache: Path) -> Iterator[tuple[str, str]]:
    for _, content in members(fetch(FILMS, cache), r"data/movies\.json$"):
        for film in json.loads(content):
            yield from (("films", str(film[key])) for key in ("Title", "Director", "Distributor") if film[key])


def people(cache: Path, rng: random.Random) -> Iterator[tuple[str, str]]:
    """First names and surnames, the most frequent first, and random whole names of them."""
    lists = {
        Path(name).name: [line.split()[0].decode().capitalize() for line in content.splitlines()]
        for name, content in members(fetch(PEOPLE, cache), r"/dist\.\w+\.\w+$")
    }
    first = [*lists["dist.male.first"], *lists["dist.female.first"]]
    last = lists["dist.all.last"][:SURNAMES]
    yield from (("people", name) for name in (*first, *last))
    for _ in range(WHOLE_NAMES):
        yield "people", f"{rng.choice(first)} {rng.choice(last)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE)
    cache = parser.parse_args().cache
    rows: dict[str, dict[str, str]] = {}
    for package, what, found in (
        (FAKER, "names of artists, books, places, food and animals", invented(cache)),
        (FILMS, "films and who made them", films(cache)),
        (PEOPLE, "names of people", people(cache, random.Random(0))),
    ):
        before, source = len(rows), f"names-{what.split()[-1]}"
        for group, name in found:
            if 1 < len(name) <= LONGEST:
                rows.setdefault(name.lower(), text(name, source, group))
        write_record("names", source, {package: LICENCES[package]}, what, len(rows) - before)
    write_texts("texts-names", list(rows.values()))
    print(f"{len(rows):,} names", file=sys.stderr)


if __name__ == "__main__":
    main()
