"""`NAME=VALUE` options as names and values."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import OptionError


def pairs(assignments: Sequence[str] | None, option: str) -> dict[str, str]:
    """Raises OptionError for one without a value, and for a name given twice."""
    found: dict[str, str] = {}
    for name, values in grouped(assignments, option).items():
        if len(values) > 1:
            raise OptionError(f"{option} {name} is given twice")
        found[name] = values[0]
    return found


def grouped(assignments: Sequence[str] | None, option: str) -> dict[str, list[str]]:
    """Values by name, in order. Raises OptionError for one without a value."""
    found: dict[str, list[str]] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise OptionError(f"{option} {assignment!r} has no value: write NAME=VALUE")
        found.setdefault(name, []).append(value)
    return found
