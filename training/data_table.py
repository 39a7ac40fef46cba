"""Writes DATA.md out of what the sources recorded:  python training/data_table.py

Also keeps the figures of `decontaminate.py` in benchmarks/results/pocket_overlap.json. Run it after build_data.py.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evaluation.table import grid, overlap_tables

TRAINING = Path(__file__).resolve().parent
BUILD = TRAINING / "build"
OVERLAP = TRAINING.parent / "benchmarks" / "results" / "pocket_overlap.json"
TYPES = {"pip": "pypi", "npm": "npm", "deb": "deb/debian"}
SEPARATORS = {"pip": "==", "npm": "@", "deb": "="}
BEFORE_OVERLAP = """## Nothing of an evaluation set

`decontaminate.py` leaves out every row that shares a run of 13 words (8 in shorter texts) with a text of an evaluation
set, every pair of words that people judged, and every picture that looks like a held-out one. What is left out never
reaches the tokenizer, `prepare.py` or training. Held-out code and documentation are whole packages that no source
reads; held-out pictures are all drawings of a thing, in every set of icons.
"""


def records(build: Path) -> list[dict[str, Any]]:
    """What each source said of itself, by step and name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in (build / "records").glob("*.json")]
    return sorted(found, key=lambda record: (record["step"], record["source"]))


def package_url(package: str) -> str:
    """`npm:@mdi/svg@7.4.47` as a package URL: `pkg:npm/%40mdi/svg@7.4.47`."""
    registry, rest = package.split(":", 1)
    name, _, version = rest.rpartition(SEPARATORS[registry])
    return f"pkg:{TYPES[registry]}/{quote(name, safe='/')}@{quote(version, safe='.+-~:')}"


def licences(record: dict[str, Any]) -> str:
    return ", ".join(sorted(set(record["packages"].values())))


def summary(build: Path) -> str:
    """Rows by source, and by licence."""
    found = records(build)
    by_licence = Counter[str]()
    for record in found:
        by_licence[licences(record)] += record["rows"]
    sources = [[r["step"], r["source"], r["what"], licences(r), r["rows"]] for r in found]
    return "\n\n".join(
        [
            grid("Step", ("", "source", "what", "licences", "rows"), sources),
            grid("Licences of a source", ("", "rows"), [list(item) for item in by_licence.most_common()]),
        ]
    )


def of_bundled(overlap: dict[str, Any]) -> str:
    """What the bundled model was trained on, and how much of it was left out."""
    counts = overlap["files"].values()
    rows, left_out = (sum(count[key] for count in counts) for key in ("rows", "left out"))
    return (
        "The model that is bundled was last trained on these files, and before that on what the registries had up to three days "
        "earlier, at first without `texts-names`. "
        f"Of {rows:,} rows {left_out:,} share something with a set, and were left out."
    )


def page(build: Path) -> str:
    """All of DATA.md."""
    packages = {package: licence for record in records(build) for package, licence in record["packages"].items()}
    listed = [f"- `{package_url(package)}`: {packages[package]}" for package in sorted(packages)]
    overlap = json.loads((build / "overlap.json").read_text(encoding="utf-8"))
    return "\n".join(
        [
            "# What `pocket` is trained on\n",
            "Written by `python training/data_table.py`; rows as the sources give them, before anything is left out.\n",
            summary(build),
            "",
            BEFORE_OVERLAP,
            of_bundled(overlap),
            "",
            overlap_tables(overlap),
            "\n## Packages\n",
            "Each with its version as a [package URL](https://github.com/package-url/purl-spec), and its licence.\n",
            *listed,
            "",
        ]
    )


def main() -> None:
    (TRAINING / "DATA.md").write_text(page(BUILD), encoding="utf-8")
    shutil.copy(BUILD / "overlap.json", OVERLAP)


if __name__ == "__main__":
    main()
