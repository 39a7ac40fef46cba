"""Filters of a search as the SQL that LanceDB takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...errors import OptionError, suggest
from .passage import KINDS

Filters = Mapping[str, "str | Sequence[str]"]
"""Names and the value wanted, or several of which one has to fit. `kind`, `path` and `title` are fields of a
passage, in which `*` stands for anything; every other name is metadata, compared whole."""

_FIELDS = ("path", "title")


def to_sql(filters: Filters) -> str | None:
    """The condition, or None for no filters. Raises OptionError for a kind that doesn't exist."""
    conditions = []
    for name, wanted in filters.items():
        values = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
        if not name or not values or not all(isinstance(value, str) for value in values):
            raise OptionError(f"filter {name!r}: {wanted!r}: a filter has a name and one or more strings")
        conditions.append("(" + " OR ".join(_condition(name, value) for value in values) + ")")
    return " AND ".join(conditions) or None


def any_of(column: str, values: Iterable[str]) -> str:
    """`column IN (values)`."""
    return f"{column} IN ({', '.join(map(quoted, values))})"


def path_is(path: str) -> str:
    """The condition for a document's path, in which `*` stands for anything."""
    return _condition("path", path)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _condition(name: str, value: str) -> str:
    if name == "kind":
        if value not in KINDS:
            raise OptionError(f"unknown kind {value!r}{suggest(value, KINDS)}")
        return f"kind = {quoted(value)}"
    if name in _FIELDS:
        return f"{name} LIKE {quoted(_pattern(value))} ESCAPE '\\'" if "*" in value else f"{name} = {quoted(value)}"
    return f"array_has(metadata, {quoted(f'{name}={value}')})"


def _pattern(value: str) -> str:
    for special in ("\\", "%", "_"):
        value = value.replace(special, "\\" + special)
    return value.replace("*", "%")
