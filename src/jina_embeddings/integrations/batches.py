"""Arrow batches: a class for `map_batches` of Ray Data, and for whatever else calls a function with tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..checkpoint import DEFAULT_MODEL
from ..errors import EngineDeadError, InputError

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings


class EmbedBatch:
    """Adds columns `embedding` and `error` to tables.

        dataset.map_batches(EmbedBatch, fn_constructor_kwargs={"column": "body"}, batch_format="pyarrow", ...)

    Args:
        column: of texts, or of images: bytes, paths, or what `datasets` stores.
        model, model_options: as of `JinaEmbeddings`, which is made with the first table.
        image: the column holds images.
        task, prompt_name, truncate_dim, batch_size, max_length: as in `JinaEmbeddings.encode_text`.

    A row that can't be embedded has no vector, and says why. When the engine dies the process ends, since whoever calls
    would try the same dead engine again: Ray makes a new actor.
    """

    def __init__(
        self,
        column: str = "text",
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        image: bool = False,
        task: str | None = None,
        prompt_name: str | None = None,
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        **model_options: Any,
    ):
        self._column, self._kind = column, "image" if image else "text"
        self._made_of = model, model_options
        self._truncate_dim = truncate_dim
        self._options: dict[str, Any] = {
            "task": task,
            "prompt_name": prompt_name or (None if task and "." in task else "passage"),
            "truncate_dim": truncate_dim,
            "batch_size": batch_size,
            "max_length": max_length,
        }
        self._model: JinaEmbeddings | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Raises InputError for a table without the column."""
        if self._column not in table.column_names:
            raise InputError(f"the table has no column {self._column!r}, but {', '.join(table.column_names)}")
        values = table[self._column].to_pylist()
        model = self._loaded()
        errors: list[str | None] = [None] * len(values)
        vectors = np.zeros((len(values), self._truncate_dim or model.info.dimension), dtype=np.float32)
        missing = np.ones(len(values), dtype=bool)
        if values:
            inputs = [{self._kind: _content(value)} for value in values]
            try:
                partial = model.encode(inputs, on_error="skip", **self._options)
            except EngineDeadError:
                os._exit(70)
            vectors[partial.kept] = partial.embeddings
            missing[partial.kept] = False
            for skipped in partial.skipped:
                errors[skipped.index] = str(skipped.error)
        column = pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), vectors.shape[1], mask=pa.array(missing))
        return table.append_column("embedding", column).append_column("error", pa.array(errors, pa.string()))

    def _loaded(self) -> JinaEmbeddings:
        if self._model is None:
            from ..embedder import JinaEmbeddings

            name, options = self._made_of
            self._model = JinaEmbeddings(name, **options)
        return self._model


def _content(value: Any) -> Any:
    """Of a cell; an image of `datasets` is {"bytes": ..., "path": ...}."""
    if isinstance(value, dict):
        return value.get("bytes") or value.get("path")
    return value
