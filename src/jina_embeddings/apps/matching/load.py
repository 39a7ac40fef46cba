"""Loads the inputs of text matching with their vectors, which a model computes or a file contains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EmptyInputError, InputError
from ...pipeline.embed import Embedded, embed_rows
from ...pipeline.manifest import is_run
from ...pipeline.readers import Reader
from ...pipeline.reading import read_run
from ...pipeline.rows import Failure, LeftOut
from .inputs import VECTOR_SUFFIXES, VectorFile, open_vectors, read_inputs

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings
    from ...types import FloatArray


@dataclass(slots=True)
class Inputs:
    """Inputs and their vectors (n, dim).

    names: the id of each input.
    texts: the text of each input, or the id of an image; empty if the vectors come from a file.
    positions: the index of each input among all rows that were read, failed ones included.
    num_rows: how many rows were read, failed ones included.
    failures: the rows that could not be read or embedded.
    cut: the ids of the texts that were cut.
    left_out: the files of folders that have nothing to compare.
    """

    names: Sequence[Any]
    vectors: FloatArray
    texts: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    num_rows: int = 0
    failures: list[Failure] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def text(self, row: int) -> str:
        """A row's text on one line, or its name if there are no texts."""
        return " ".join(self.texts[row].split()) if self.texts else str(self.names[row])


def embed_inputs(
    model: JinaEmbeddings,
    paths: Sequence[str],
    reader: Reader,
    *,
    advance: Callable[[], None] | None = None,
    **options: Any,
) -> Inputs:
    """Reads and embeds all inputs of the paths. Rows that fail are in `failures`, and may be all of them.

    advance: called after each input.
    options: those of `JinaEmbeddings.stream`.
    """
    names: list[str] = []
    found = Inputs(names, VectorFile().array())
    vectors = VectorFile()
    for result in embed_rows(model, read_inputs(paths, reader), **options):
        if advance is not None:
            advance()
        if isinstance(result, Embedded):
            vectors.append(result.embedding)
            names.append(result.row.id)
            found.texts.append(str(result.row.input.get("text", result.row.id)))
            found.positions.append(found.num_rows)
            if result.cut:
                found.cut.append(result.row.id)
        elif isinstance(result, Failure):
            found.failures.append(result)
        if isinstance(result, LeftOut):
            found.left_out.append(result)
        else:
            found.num_rows += 1
    found.vectors = vectors.array()
    return found


def load_inputs(
    load: Callable[[], AbstractContextManager[JinaEmbeddings]],
    paths: Sequence[str],
    reader: Reader,
    task: str,
    **options: Any,
) -> Inputs:
    """Inputs with their vectors: read from one .npy, .parquet or folder of a bulk run, else computed by the model.

    options: those of `embed_inputs`.
    """
    with_vectors = [path for path in paths if Path(path).suffix in VECTOR_SUFFIXES or is_run(path)]
    if not with_vectors:
        with load() as model:
            return embed_inputs(model, paths, reader, task=task, **options)
    if len(paths) > 1:
        raise InputError(f"{with_vectors[0]} holds vectors: give it alone")
    if is_run(paths[0]):
        return _of_run(paths[0])
    names, vectors, failures = open_vectors(Path(paths[0]))
    if not len(vectors) and not failures:
        raise EmptyInputError(f"there are no vectors in {paths[0]}")
    return Inputs(names, vectors, num_rows=len(vectors) + len(failures), failures=failures)


def _of_run(folder: str) -> Inputs:
    """Every row that was embedded; its text is known where the run kept a field of that name."""
    names: list[str] = []
    texts: list[str] = []
    vectors = VectorFile()
    for rows in read_run(folder):
        names += rows.table["id"].to_pylist()
        kept = "text" if "text" in rows.table.column_names else "id"
        texts += [text or "" for text in rows.table[kept].to_pylist()]
        for vector in rows.vectors:
            vectors.append(vector)
    if not names:
        raise EmptyInputError(f"there are no vectors in {folder}")
    return Inputs(names, vectors.array(), texts, num_rows=len(names))
