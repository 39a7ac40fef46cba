"""The types of the columns that a run keeps beside its vectors."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import OptionError, RunError
from .lance_table import has_type
from .offsets import csv_header
from .plan import Plan
from .records import Fields
from .tables import TABLES, table_schema

_MOST_NAMED = 20


def check_kept(fields: Fields, columns: Iterable[str]) -> None:
    """Raises OptionError for a field to keep that would have the name of a column of the run's own.

    columns: of vectors.
    """
    own = {"row", "kind", "error_code", "error", *columns} | ({"id"} if fields.id != "id" else set())
    for name in fields.keep:
        if name in own:
            raise OptionError(f"{name!r} can't be kept: a run has a column of its own of that name; rename the input's")


def check_fields(plan: Plan) -> None:
    """Raises RunError where no file has a column to embed; a single one that hasn't is rejected row by row."""
    fields, seen = plan.fields, list[str]()
    for source in plan.sources:
        if source.kind in TABLES:
            names = table_schema(source.path, source.kind).names
        elif source.kind == "csv":
            names = csv_header(source.path)
        elif source.kind == "unreadable":
            continue
        else:
            return
        if {fields.text, fields.image} & {*names}:
            return
        seen = seen or names
    if seen:
        others = ", ".join(map(repr, seen[:_MOST_NAMED]))
        raise RunError(
            f"no file has a column {fields.text!r} or {fields.image!r} (but {others}): name one with `text_field` or "
            "`image_field`"
        )


def kept_types(plan: Plan, layout: str) -> list[tuple[str, Any]]:
    """Name and Arrow type of each column kept: the files' own if they agree and the output has it, else strings.

    layout: of the output, see `Form`. The ids of rows are there without being kept.

    Raises RunError for a field that no file can have.
    """
    sources = tuple((source.path, source.kind, source.digest) for source in plan.sources)
    return _kept_types(sources, plan.fields, layout)


# Asked for each shard, and the schemas may be in a store.
@lru_cache(maxsize=4)
def _kept_types(sources: tuple[tuple[str, str, str], ...], fields: Fields, layout: str) -> list[tuple[str, Any]]:
    found: dict[str, set[Any]] = {name: set() for name in fields.keep if not name == fields.id == "id"}
    for path, kind, _ in sources if found else ():
        schema = table_schema(path, kind) if kind in TABLES else None
        for name, types in found.items():
            if schema is None and kind in ("jsonl", "csv", "tar"):
                types.add(pa.string())
            elif schema is not None and name in schema.names:
                types.add(schema.field(name).type)
    for name, types in found.items():
        if not types:
            raise RunError(f"no file has a field {name!r} to keep")
    return [(name, _stored_type(types, layout)) for name, types in found.items()]


def _stored_type(types: set[Any], layout: str) -> Any:
    if len(types) > 1:
        return pa.string()
    (type_,) = types
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("kept", type_)])).close()
    except pa.ArrowNotImplementedError:
        return pa.string()
    return type_ if layout != "lance" or has_type(type_) else pa.string()
