"""Inputs of text matching with their vectors: made by a model, or taken from a file that has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EmptyInputError, InputError
from ...pipeline.embed import Embedded, embed_rows
from ...pipeline.readers import Reader
from ...pipeline.rows import Failure, LeftOut
from .inputs import VECTOR_SUFFIXES, VectorFile, open_vectors, read_inputs

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings
    from ...types import FloatArray


@dataclass(slots=True)
class Inputs:
    """Inputs and their vectors (n, dim).

    names: where each stands. texts: what it says, its name for an image; empty where they were not asked for.
    positions: of each among all rows that were read, failed ones included.
    """

    names: Sequence[Any]
    vectors: FloatArray
    texts: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    num_rows: int = 0
    failures: list[Failure] = field(default_factory=list)

    def text(self, row: int) -> str:
        """For a line of output."""
        return " ".join(self.texts[row].split()) if self.texts else str(self.names[row])


def embed_inputs(
    model: JinaEmbeddings,
    paths: Sequence[str],
    reader: Reader,
    *,
    advance: Callable[[], None] | None = None,
    **options: Any,
) -> Inputs:
    """All inputs of paths. options: those of `JinaEmbeddings.stream`. advance: called after each input.

    What can't be read is in `failures`; there may be no input left.
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
        elif isinstance(result, Failure):
            found.failures.append(result)
        if not isinstance(result, LeftOut):
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
    """Inputs with their vectors: made by the model, or, for one .npy or .parquet, taken from the file.

    options: those of `embed_inputs`.
    """
    with_vectors = [path for path in paths if Path(path).suffix in VECTOR_SUFFIXES]
    if not with_vectors:
        with load() as model:
            return embed_inputs(model, paths, reader, task=task, **options)
    if len(paths) > 1:
        raise InputError(f"{with_vectors[0]} holds vectors: give it alone")
    names, vectors = open_vectors(Path(paths[0]))
    if not len(vectors):
        raise EmptyInputError(f"there are no vectors in {paths[0]}")
    return Inputs(names, vectors, num_rows=len(vectors))
