"""`Report`: what `doctor` found, as sections of facts and as problems with their remedies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Problem:
    what: str
    remedy: str


@dataclass(slots=True)
class Report:
    """The report of `doctor`. sections: facts that JSON can hold, by section; fields called `*_bytes` are in bytes."""

    sections: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return not self.problems

    def problem(self, what: str, remedy: str) -> None:
        self.problems.append(Problem(what, remedy))

    def as_json(self) -> str:
        problems = [{"what": problem.what, "remedy": problem.remedy} for problem in self.problems]
        return json.dumps(
            {"healthy": self.healthy, "problems": problems, **self.sections}, indent=1, ensure_ascii=False
        )

    def lines(self) -> Iterator[str]:
        """Yields the report as lines for people."""
        for title, section in self.sections.items():
            yield title.replace("_", " ")
            yield from shown_lines(section, "  ")
        if self.healthy:
            yield "healthy: no problems found"
            return
        yield "problems"
        for problem in self.problems:
            yield f"  ! {problem.what}"
            yield f"    to do: {problem.remedy}"


def shown_lines(value: Any, indent: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        plain = [name for name in value if not _is_nested(value[name])]
        width = max((len(_title(name)) for name in plain), default=0)
        for name in plain:
            yield f"{indent}{_title(name):{width}}  {_shown(name, value[name])}"
        for name in [name for name in value if name not in plain]:
            yield f"{indent}{_title(name)}"
            yield from shown_lines(value[name], indent + "  ")
    elif isinstance(value, list):
        yield from (indent + line for line in _table(value))
    else:
        yield f"{indent}{_shown('', value)}"


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(item, Mapping) for item in value))


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        yield "none"
        return
    cells = [[_title(name) for name in rows[0]]]
    cells += [[_shown(name, value) for name, value in row.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _title(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.6f}"
    if name.endswith("_bytes"):
        return f"{value / GIB:.2f} GiB" if value >= GIB // 10 else f"{value / MIB:.2f} MiB"
    return str(value)
