"""The figures of docs/applications.md are those of the results that each of its sections names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "docs/applications.md"
# Of a table's cells: a number, with a unit that says what it was divided by.
CELL = re.compile(r"\|\s*(-?[\d,]*\.?\d+)( ms| s| MB| GB)?\s*(?=\|)")
FACTORS = {"": (1,), " ms": (1, 1000), " s": (1, 1e-3), " MB": (1e-6,), " GB": (1e-9,)}


def sections() -> list[str]:
    found = re.split(r"^(?=##+ )", (ROOT / PAGE).read_text(encoding="utf-8"), flags=re.MULTILINE)
    # A table under a heading without a result of its own is of the section above.
    for number, text in enumerate(found):
        if number and "results/" not in text:
            found[number] = text + "".join(re.findall(r"\(\S+results/\w+\.json\)", found[number - 1]))
    return [text for text in found if CELL.search(text)]


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield float(value)


@pytest.mark.parametrize("section", sections(), ids=lambda text: text.split("\n", 1)[0].strip("# "))
def test_figures_of_tables_are_in_the_results(section: str) -> None:
    names = re.findall(r"results/(\w+\.json)\)", section)
    assert names, "no result is named"
    known = [
        number for name in names for number in numbers(json.loads((ROOT / "benchmarks/results" / name).read_text()))
    ]
    wrong = []
    for figure, unit in CELL.findall(section):
        given = Decimal(figure.replace(",", ""))
        # Half of the last digit, and what float makes of it.
        tolerance = float(Decimal(1).scaleb(int(given.as_tuple().exponent))) / 2 + 1e-9
        scaled = (number * factor for number in known for factor in FACTORS[unit])
        if not any(abs(number - float(given)) <= tolerance for number in scaled):
            wrong.append(figure + unit)
    assert wrong == []
