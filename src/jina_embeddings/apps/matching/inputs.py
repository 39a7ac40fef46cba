"""Reads the inputs of text matching: lines of text files, files of folders, records, or files of vectors."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, JinaEmbeddingsError, not_utf8, unreadable
from ...pipeline.columns import has_all_numbers, matrix_of
from ...pipeline.files import STDIN, kind_of
from ...pipeline.long_lines import MAX_LINE_BYTES, lines_of, too_long_line
from ...pipeline.readers import Reader, count_lines
from ...pipeline.rows import Failure, Item, Row, printable
from ...pipeline.temporary import temporary_files

if TYPE_CHECKING:
    from ...types import FloatArray

VECTOR_SUFFIXES = (".npy", ".parquet")


def read_inputs(paths: Iterable[str], reader: Reader) -> Iterator[Item]:
    """The rows of all paths: the lines of text files given by name, and whatever `Reader` reads from other paths.

    Blank lines are left out. The id of a line is `notes.txt:7`.
    """
    for path in paths:
        yield from _lines(path) if is_lines(path) else reader.read([path])


def count_inputs(paths: Iterable[str], reader: Reader) -> Iterator[int | None]:
    """How many inputs there are at most, file by file, without decoding them; None where only reading tells.

    A file that can't be read has none: `read_inputs` says why.
    """
    for path in paths:
        if not is_lines(path):
            yield from reader.counts([path])
            continue
        try:
            yield count_lines(path)
        except (OSError, EOFError, zlib.error):
            yield 0


def is_lines(path: str) -> bool:
    """Whether a path is a text file, whose rows are its lines."""
    return _kind(path) == "text"


def without_rows(path: str, positions: Iterable[int]) -> Iterator[bytes] | None:
    """The lines of a file, unchanged, without some of its rows; None for a format whose rows aren't lines.

    positions: indices of the rows to leave out, counted from 0 over the rows that `read_inputs` yields for the file.
    """
    if is_lines(path):
        return _without(path, set(positions), _is_blank)
    if _kind(path) == "jsonl":
        return _without(path, set(positions), lambda line: not line.strip())
    return None


def _kind(path: str) -> str | None:
    """The kind of a file as `pipeline.files` names it; None for standard input and for paths that can't be read."""
    try:
        return None if path == STDIN else kind_of(path)
    except (JinaEmbeddingsError, OSError):
        return None


def _without(path: str, positions: set[int], is_blank: Callable[[bytes], bool]) -> Iterator[bytes]:
    position = 0
    with open(path, "rb") as file:
        for line in file:
            if is_blank(line):
                yield line
                continue
            if position not in positions:
                yield line
            position += 1


def _is_blank(line: bytes) -> bool:
    """Whether a line is empty but for a byte order mark and white space, including that of other scripts."""
    return not line.decode("utf-8", "replace").strip("\ufeff").strip()


def _lines(path: str) -> Iterator[Item]:
    try:
        with open(path, "rb") as file:
            for number, (line, num_bytes) in enumerate(lines_of(file), 1):
                name = printable(f"{path}:{number}")
                if num_bytes > MAX_LINE_BYTES:
                    yield Failure(name, too_long_line())
                    continue
                if _is_blank(line):
                    continue
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    yield Failure(name, not_utf8(error))
                    continue
                yield Row(name, "text", {"text": text})
    except OSError as error:
        yield Failure(printable(path), unreadable(error))


def open_vectors(path: Path) -> tuple[Sequence[Any], FloatArray, list[Failure]]:
    """The names and vectors (n, dim) of a file that `jina-embeddings embed` wrote, or of any .npy of that shape.

    An .npy is memory-mapped. The names of its rows are read from `NAME.rows.jsonl`; without that file they are the
    numbers from 0. Rows without a whole vector, because it or a number of it is null, NaN or infinite, are failures.

    Raises:
        InputError: the file has no dense float vectors.
        OSError: the file can't be read.
    """
    names, vectors = _open_parquet(path) if path.suffix == ".parquet" else _open_npy(path)
    good = has_all_numbers(vectors)
    if good.all():
        return names, vectors, []
    error = InputError(f"has no whole vector in {path}")
    bad = [Failure(str(names[row]), error) for row in np.flatnonzero(~good)]
    return [names[row] for row in np.flatnonzero(good)], vectors[good], bad


def _open_npy(path: Path) -> tuple[Sequence[Any], FloatArray]:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path} is no array of numbers: {error}") from None
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(f"{path} has {vectors.dtype} of shape {vectors.shape}: expected floats (rows, numbers)")
    rows = path.with_name(f"{path.name}.rows.jsonl")
    if not rows.is_file():
        return range(len(vectors)), vectors
    with rows.open(encoding="utf-8") as file:
        names = [str(json.loads(line)["id"]) for line in file]
    if len(names) != len(vectors):
        raise InputError(f"{rows} names {len(names)} rows and {path} has {len(vectors)}: make them again")
    return names, vectors


def _open_parquet(path: Path) -> tuple[Sequence[Any], FloatArray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["id", "embedding"])
    except (pa.ArrowInvalid, KeyError) as error:
        raise InputError(f"{path} is no Parquet file with columns id and embedding: {error}") from None
    column = table["embedding"].combine_chunks()
    if not (pa.types.is_fixed_size_list(column.type) and pa.types.is_floating(column.type.value_type)):
        raise InputError(f"{path} has embeddings of type {column.type}: write them with embedding_type='float'")
    return table["id"].to_pylist(), matrix_of(column)


class VectorFile:
    """Collects vectors in an unnamed temporary file, so that a million of them aren't in memory twice."""

    def __init__(self) -> None:
        with temporary_files():
            self._file = tempfile.TemporaryFile(prefix="jina-embeddings-")  # noqa: SIM115 - lives as long as its array
        self._shape = (0, 0)

    def append(self, vector: FloatArray) -> None:
        """Adds one vector (dim,)."""
        data: Any = np.ascontiguousarray(vector, dtype=np.float32)
        with temporary_files():
            self._file.write(data.data)
        self._shape = (self._shape[0] + 1, len(data))

    def array(self) -> FloatArray:
        """All vectors, (n, dim), memory-mapped."""
        with temporary_files():
            self._file.flush()
        if not os.fstat(self._file.fileno()).st_size:
            return np.zeros(self._shape, dtype=np.float32)
        return np.memmap(self._file, dtype=np.float32, mode="r", shape=self._shape)
