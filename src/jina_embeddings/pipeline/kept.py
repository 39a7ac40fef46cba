"""The types of the columns that a run keeps beside its vectors."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ..errors import RunError
from .plan import Plan
from .tables import TABLES, table_schema


def kept_types(plan: Plan) -> list[tuple[str, Any]]:
    """Name and Arrow type of each column kept: the files' own where they agree, else strings.

    Raises RunError for a field that no file can have.
    """
    found: dict[str, set[Any]] = {name: set() for name in plan.fields.keep}
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
