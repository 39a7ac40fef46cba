"""The types of the columns that a run keeps beside its vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from ..errors import OptionError, RunError
from .plan import Plan
from .records import Fields
from .tables import TABLES, table_schema


def check_kept(fields: Fields, columns: Iterable[str]) -> None:
    """Raises OptionError for a field to keep that would have the name of a column of the run's own.

    columns: of vectors.
    """
    own = {"row", "kind", "error_code", "error", *columns} | ({"id"} if fields.id != "id" else set())
    for name in fields.keep:
        if name in own:
            raise OptionError(f"{name!r} can't be kept: a run has a column of its own of that name; rename the input's")


def kept_types(plan: Plan) -> list[tuple[str, Any]]:
    """Name and Arrow type of each column kept: the files' own where they agree, else strings.

    The ids of rows are there without being kept.

    Raises RunError for a field that no file can have.
    """
    fields = plan.fields
    found: dict[str, set[Any]] = {name: set() for name in fields.keep if not name == fields.id == "id"}
    for source in plan.sources if found else ():
        schema = table_schema(source.path, source.kind) if source.kind in TABLES else None
        for name, types in found.items():
            if schema is None and source.kind in ("jsonl", "csv", "tar"):
                types.add(pa.string())
            elif schema is not None and name in schema.names:
                types.add(schema.field(name).type)
    for name, types in found.items():
        if not types:
            raise RunError(f"no file has a field {name!r} to keep")
    return [(name, types.pop() if len(types) == 1 else pa.string()) for name, types in found.items()]
