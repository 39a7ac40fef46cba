"""Tables in memory as inputs of a run: each is kept in the run's folder, as a worker that starts again reads again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError, RunMismatchError
from .folder import Folder
from .sources import Source
from .tables import check_names

FOLDER = "_inputs"
_BATCH_ROWS = 1000
_VIEWS: dict[Any, Any] = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


def store_table(table: Any, columns: list[str], folder: Folder, known: Iterable[Source] | None) -> str:
    """The address of a Parquet file in the folder that has these columns of a table; written if it isn't there.

    table: a DataFrame of pandas or polars, a `datasets.Dataset`, or whatever else gives a stream of Arrow batches.
    known: what the run that the folder has already is made of; None if it has none.

    Raises:
        InputError: no such table, none of the columns, or one that Parquet can't hold.
        RunMismatchError: the folder's run is made of other rows.
    """
    try:
        return _stored(table, columns, folder, known)
    except pa.ArrowException as error:
        raise InputError(f"a column can't be stored: {error}: convert it, or leave it out") from error


def _stored(table: Any, columns: list[str], folder: Folder, known: Iterable[Source] | None) -> str:
    schema, batches = _read(table, columns)
    digest = hashlib.blake2b(schema.serialize(), digest_size=8)
    for batch in batches:
        digest.update(batch.take(pa.array(range(batch.num_rows))).serialize())
    name = f"{FOLDER}/{digest.hexdigest()}.parquet"
    address = f"{folder}/{name}"
    if known is not None:
        if address not in {source.path for source in known}:
            raise RunMismatchError(f"{folder} holds a run of other rows than this table has: give another folder")
        return address
    draft = folder.draft(name)
    try:
        with pq.ParquetWriter(draft.file, schema) as writer:
            for batch in _read(table, columns)[1]:
                writer.write_batch(batch)
        draft.commit()
    finally:
        draft.discard()
    return address


def _read(table: Any, columns: list[str]) -> tuple[Any, Iterator[Any]]:
    """Schema and batches, with those of the columns that the table has."""
    if hasattr(table, "with_format") and hasattr(table, "num_rows") and hasattr(table, "iter"):  # datasets.Dataset
        parts = table.with_format("arrow").iter(batch_size=_BATCH_ROWS)
        schema, batches = table.features.arrow_schema, (batch for part in parts for batch in part.to_batches())
    elif hasattr(table, "__arrow_c_stream__"):
        if not isinstance(table, pa.Table) and hasattr(table, "columns"):  # a DataFrame
            # The others may be of types that Arrow has not.
            table = table[[name for name in table.columns if name in columns]]
        reader = pa.RecordBatchReader.from_stream(table)
        schema, batches = reader.schema, iter(reader)
    else:
        raise InputError(
            f"a {type(table).__name__} is no input: give paths, DataFrames of pandas or polars, Arrow tables, or a "
            "split of `datasets`"
        )
    names = [name for name in schema.names if name in columns]
    check_names(names)
    if not names:
        raise InputError(f"the table has none of the columns {', '.join(columns)}: choose them with `Fields`")
    chosen = pa.schema([_in_parquet(schema.field(name)) for name in names])
    return chosen, (
        pa.record_batch([_as(part[name], chosen.field(name).type) for name in names], schema=chosen)
        for batch in batches
        for first in range(0, batch.num_rows, _BATCH_ROWS)
        for part in (batch.slice(first, _BATCH_ROWS),)
    )


def _in_parquet(field: Any) -> Any:
    """Parquet has no views of strings, which polars makes."""
    return field.with_type(_VIEWS.get(_values_of(field.type), field.type)).remove_metadata()


def _values_of(type_: Any) -> Any:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _as(column: Any, type_: Any) -> Any:
    if column.type != type_ and pa.types.is_dictionary(column.type):
        # Arrow can't take views by their indices.
        column = pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(type_)).dictionary_decode()
    return column.cast(type_)
