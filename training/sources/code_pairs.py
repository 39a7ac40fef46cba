"""Documentation and the code it describes:  python training/sources/code_pairs.py python javascript go rust

Writes build/raw/pairs-code-<language>.parquet, build/heldout-code-<language>.parquet and a record a language for DATA.md.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import code_comments
import code_packages as listed
from code_python import functions
from packages import CACHE, fetch, members
from tables import pair, write_heldout, write_pairs, write_record

SKIPPED = re.compile(
    r"(^|/)(tests?|testing|_?vendor(ed)?|extern(als?)?|third_party|node_modules|conftest|migrations|locale|benchmarks?|"
    r"fixtures|testdata|idlelib|lib2to3|graph_objs|__tests__)(/|\.|$)|(^|/)test_|_test\.|\.test\.|\.spec\.|\.min\.|_pb2|\.pb\.go$|"
    r"zz_generated|bindata|turtledemo"
)
GENERATED = re.compile(r"DO NOT EDIT|[Aa]uto-?generated|automatically generated|@generated|GENERATED CODE")
MOST_OF_ONE_QUERY = 2
FILES = {"javascript": r"(?<!\.d)\.(m?js|ts)$", "go": r"\.go$", "rust": r"\.rs$"}
LISTED = {
    "python": (listed.PYTHON, listed.HELD_OUT_PYTHON),
    "javascript": (listed.JAVASCRIPT, {}),
    "go": (listed.GO, listed.HELD_OUT_GO),
    "rust": (listed.RUST, {}),
}
Row = dict[str, str]


def python_files(packages: dict[str, str], cache: Path, library: bool) -> Iterator[tuple[str, str, str]]:
    """Package, path and text of each Python file."""
    if library:
        root = Path(sysconfig.get_path("stdlib"))
        for path in sorted(root.rglob("*.py")):
            name = str(path.relative_to(root))
            if not name.startswith("site-packages"):
                yield "python-library", name, path.read_text(encoding="utf-8", errors="replace")
    yield from package_files(packages, cache, r"\.py$")


def package_files(packages: dict[str, str], cache: Path, pattern: str) -> Iterator[tuple[str, str, str]]:
    for package in packages:
        for name, content in members(fetch(package, cache), pattern):
            yield (
                re.split(r"==|@(?!.*/)|=", package.split(":", 1)[1])[0],
                name,
                content.decode("utf-8", errors="replace"),
            )


class Seen:
    """Tells whether a pair is new: no code twice, no query more than twice."""

    def __init__(self) -> None:
        self.codes: set[bytes] = set()
        self.queries: Counter[str] = Counter()

    def new(self, query: str, code: str) -> bool:
        digest = hashlib.blake2b(re.sub(r"\s+", "", code).encode(), digest_size=12).digest()
        key = re.sub(r"\W+", " ", query.lower())
        if digest in self.codes or self.queries[key] >= MOST_OF_ONE_QUERY:
            return False
        self.codes.add(digest)
        self.queries[key] += 1
        return True


def readable(files: Iterator[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Leaves out tests, vendored and generated files."""
    for package, name, text in files:
        if not SKIPPED.search(name) and not GENERATED.search(text[:2000]) and len(text) < 1_500_000:
            yield package, name, text


def python_pairs(packages: dict[str, str], cache: Path, seen: Seen, *, trained: bool) -> list[Row]:
    """Pairs of Python packages; to train on, with the standard library and the masked twins."""
    rng, rows = random.Random(0), []
    for package, name, text in readable(python_files(packages, cache, trained)):
        for function in functions(text, rng):
            if not seen.new(function.query, function.code):
                continue
            group = f"{package}/{name}"
            rows.append(pair(function.query, function.code, "code", f"code-python-{package}", group))
            if trained and function.masked:
                rows.append(pair(*function.masked, "code", f"code-python-{package}-masked", group))
    return rows


def comment_pairs(language: str, packages: dict[str, str], cache: Path, seen: Seen) -> list[Row]:
    """Pairs of packages in a language whose documentation stands in comments."""
    rows = []
    for package, name, text in readable(package_files(packages, cache, FILES[language])):
        grammar = "typescript" if name.endswith("ts") else language
        for query, code in code_comments.functions(text, grammar):
            if seen.new(query, code):
                rows.append(pair(query, code, "code", f"code-{language}-{package}", f"{package}/{name}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="+", choices=list(LISTED))
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    for language in options.languages:
        packages, held_out = LISTED[language]
        seen = Seen()
        if language == "python":
            held = python_pairs(held_out, options.cache, seen, trained=False)
            rows = python_pairs(packages, options.cache, seen, trained=True)
        else:
            held = comment_pairs(language, held_out, options.cache, seen)
            rows = comment_pairs(language, packages, options.cache, seen)
        write_pairs(f"pairs-code-{language}", rows)
        if held:
            write_heldout(f"code-{language}", held)
        write_record(
            f"code {language}", f"code-{language}", packages, f"documentation and {language} functions", len(rows)
        )
        print(f"{language}: {len(rows):,} pairs, {len(held):,} held out", file=sys.stderr)


if __name__ == "__main__":
    main()
