"""The inventory of the data that `pocket` was trained on is complete, with licences compatible with Apache-2.0."""

from __future__ import annotations

import re
from pathlib import Path

from quality.code_files import GO, PYTHON

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pocket_sources.md"
UNFIT = re.compile(r"\b(GPL|LGPL|AGPL|GFDL|CC-BY\b|CC-BY-|NC\b)")


def packages() -> dict[str, list[str]]:
    """Names with versions, by licence."""
    _, *parts = PAGE.read_text(encoding="utf-8").partition("\n## Packages\n")[2].split("\n### ")
    return {part.partition("\n")[0]: re.findall(r"`([^`]+)`", part) for part in parts}


def test_every_package_has_a_licence_that_goes_with_apache() -> None:
    found = packages()
    assert sum(map(len, found.values())) == 570
    assert [licence for licence in found if UNFIT.search(licence)] == []


def test_every_source_names_its_licences() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("\n## Sources\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [a-z][\w-]+ \| .+ \| (.+) \| [\d,]+ \|$", table, re.MULTILINE)
    assert len(rows) == 72
    assert [licences for licences in rows if not licences.strip() or UNFIT.search(licences)] == []


def test_held_out_packages_are_not_among_the_sources() -> None:
    names = {package.rpartition("@")[0] for found in packages().values() for package in found}
    assert "aiohttp" in names
    held_out = [re.split("==|=", package.partition(":")[2])[0] for package in (*PYTHON, *GO)]
    assert [name for name in held_out if name in names] == []
