"""Source files of packages that `pocket` was not trained on, and of Python's standard library, which it was."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from .archives import fetch, members

PYTHON = (
    "pip:arrow==1.4.0",
    "pip:geopy==2.5.0",
    "pip:librosa==0.11.0",
    "pip:lifelines==0.30.3",
    "pip:marshmallow==4.4.0",
    "pip:pyparsing==3.3.3",
)
GO = (
    "deb:golang-github-dustin-go-humanize-dev=1.0.0-3",
    "deb:golang-github-hashicorp-memberlist-dev=0.2.2-2",
    "deb:golang-github-miekg-dns-dev=1.1.50-2",
    "deb:golang-github-shopspring-decimal-dev=1.2.0-2",
    "deb:golang-github-spf13-afero-dev=1.9.3-1",
    "deb:golang-github-yuin-goldmark-dev=1.5.4-1",
)
SKIPPED = re.compile(
    r"(^|/)(tests?|testing|_?vendor(ed)?|extern(als?)?|third_party|node_modules|conftest|migrations|locale|benchmarks?|"
    r"fixtures|testdata|idlelib|lib2to3|graph_objs|__tests__)(/|\.|$)|(^|/)test_|_test\.|\.test\.|\.spec\.|\.min\.|_pb2|\.pb\.go$|"
    r"zz_generated|bindata|turtledemo"
)
GENERATED = re.compile(r"DO NOT EDIT|[Aa]uto-?generated|automatically generated|@generated|GENERATED CODE")
MAX_FILE_CHARACTERS = 1_500_000


def package_files(packages: Iterable[str], pattern: str) -> Iterator[str]:
    """Text of the packages' files whose path matches, without tests, vendored and generated ones."""
    for package in packages:
        for name, content in members(fetch(package), pattern):
            yield from _readable(name, content.decode("utf-8", errors="replace"))


def library_files() -> Iterator[str]:
    """Text of the files of Python's standard library, in the same way."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        name = str(path.relative_to(root))
        if not name.startswith("site-packages"):
            yield from _readable(name, path.read_text(encoding="utf-8", errors="replace"))


def _readable(name: str, text: str) -> Iterator[str]:
    if not SKIPPED.search(name) and not GENERATED.search(text[:2000]) and len(text) < MAX_FILE_CHARACTERS:
        yield text
