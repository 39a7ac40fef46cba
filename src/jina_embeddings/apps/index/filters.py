"""Converts filters of a search to SQL conditions of LanceDB."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from ...errors import OptionError, suggest
from .passage import KINDS
from .paths import path_in, without_place

_MAX_VALUES, _MAX_CHARACTERS = 1000, 4096

Filters = Mapping[str, "str | Sequence[str]"]
"""A value, or several of which one has to match, for each name. `kind`, `path` and `title` are fields of a passage; in
`path` and `title`, `*` matches anything. All other names are metadata, whose values have to be equal."""


def to_sql(filters: Filters, root: str | None = None) -> str | None:
    """Returns the condition, None without filters.

    root: the folder that paths of the index are relative to, so that absolute paths in it match too.

    Raises OptionError for a kind that doesn't exist, or too many values.
    """
    conditions = []
    count = 0
    for name, wanted in filters.items():
        values = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
        if not name or not values or not all(isinstance(value, str) for value in values):
            raise OptionError(
                f"filter {name!r}: {wanted!r}: a filter has a name and one or more strings", argument="filters"
            )
        if max(map(len, values)) > _MAX_CHARACTERS:
            plain = f"a value of more than {_MAX_CHARACTERS:,} characters, which no passage has"
            raise OptionError(f"filter {name[:100]!r}: {plain}", argument="filters", plain=plain)
        count += len(values)
        if count > _MAX_VALUES:
            # LanceDB descends into a condition of any depth, and ends the process where its stack ends.
            plain = f"more than {_MAX_VALUES:,} values: search several times"
            raise OptionError(f"filters have {plain}", argument="filters", plain=plain)
        conditions.append("(" + " OR ".join(_condition(name, value, root) for value in values) + ")")
    return " AND ".join(conditions) or None


def any_of(column: str, values: Iterable[str]) -> str:
    """Returns `column IN (values)`."""
    return f"{column} IN ({', '.join(map(quoted, values))})"


def path_is(path: str, root: str | None = None) -> str:
    """Returns the condition for a document's path, in which `*` matches anything. root: as in `to_sql`."""
    return _condition("path", path, root)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _condition(name: str, value: str, root: str | None) -> str:
    if name == "kind":
        if value not in KINDS:
            raise OptionError(f"unknown kind {value!r}{suggest(value, KINDS)}", argument="filters")
        return f"kind = {quoted(value)}"
    of_metadata = f"array_has(metadata, {quoted(f'{name}={value}')})"
    if name == "path":
        own = path_in(value, root) if os.path.isabs(value) else value
        # A source, which has lines or a page after the path, matches too.
        if own.startswith("*/"):
            # Relative paths have no slash before their first folder.
            return f"({_like('path', own)} OR {_like('path', own[2:])})"
        return _like("path", own) if "*" in own else any_of("path", sorted({value, own, without_place(own)}))
    if name == "title":
        # A record may have a field of this name, which is metadata.
        return f"({_like('title', value)} OR {of_metadata})"
    return of_metadata


def _like(column: str, value: str) -> str:
    return f"{column} LIKE {quoted(_pattern(value))} ESCAPE '\\'" if "*" in value else f"{column} = {quoted(value)}"


def _pattern(value: str) -> str:
    for special in ("\\", "%", "_"):
        value = value.replace(special, "\\" + special)
    return value.replace("*", "%")
