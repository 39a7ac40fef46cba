"""What a run is made of: files with the number of their rows, so that every row has a number before any is read."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import EmptyInputError, InputError, JinaEmbeddingsError
from ..inputs.pdf import num_pdf_pages
from .files import IMAGE_SUFFIXES, STDIN, find_files, kind_of
from .offsets import MARK_ROWS, line_offsets, record_offsets
from .opening import is_packed, open_stored, unpacked_name
from .rows import LeftOut, NothingInsideError, printable
from .samples import sample_offsets
from .stored_pdf import StoredPdf
from .stores import find_addresses, is_address, stored_state
from .tables import TABLES, datasets_files, lance_version, num_table_rows

_WHOLE_DIGEST_BYTES = 256 * 2**20
_SAMPLE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a run.

    kind: `text`, `lines`, `image`, `pdf`, `jsonl`, `csv`, `tar`, `parquet`, `arrow`, `lance`, or `unreadable`, which is
        one row that is rejected.
    size, mtime_ns, digest: what it was when the run was planned. In a store the digest is the etag.
    marks: bytes from its start, of every `MARK_ROWS`th row, where rows are found by reading.
    """

    path: str
    kind: str
    rows: int
    size: int = 0
    mtime_ns: int = 0
    digest: str = ""
    marks: tuple[int, ...] = ()
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Source:
        return cls(**{**fields, "marks": tuple(fields.get("marks", ()))})


@dataclass(slots=True)
class Survey:
    """left_out: the files met in folders that have nothing to embed."""

    sources: list[Source] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def survey(
    paths: Iterable[str], *, lines: bool = False, leave_out: frozenset[str] = frozenset(), known: Iterable[Source] = ()
) -> Survey:
    """Finds all files of the paths, counts their rows and hashes them.

    lines: a text file gives a row for each line.
    known: sources of an earlier survey; one whose size and time are the same is not read again.

    Raises:
        InputError: a path that is named and can't be read, or standard input, which can't be read twice.
        EmptyInputError: nothing to embed.
    """
    found = Survey()
    before = {source.path: source for source in known}
    for path, named in _find(paths, leave_out):
        if path == STDIN:
            raise InputError("standard input can't be read again after a failure: write it to a file first")
        try:
            source = _source(path, lines, before.get(printable(path)))
        except NothingInsideError as error:
            if named:
                raise
            found.left_out.append(LeftOut(printable(path), str(error)))
            continue
        except (JinaEmbeddingsError, OSError, EOFError, zlib.error) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if named:
                raise InputError(f"{path} can't be read: {reason}") from error
            source = Source(printable(path), "unreadable", 1, error=reason)
        if source.rows:
            found.sources.append(source)
    if not found.sources:
        raise EmptyInputError("there is nothing to embed in what was given")
    return found


def changed(before: list[Source], now: list[Source]) -> Iterator[str]:
    """In words, what differs between two surveys; the time of a file alone is no difference."""
    old, new = ({source.path: source for source in sources} for sources in (before, now))
    yield from (f"{path} is not given any more" for path in old if path not in new)
    yield from (f"{path} is new" for path in new if path not in old)
    for path in old.keys() & new.keys():
        if (old[path].kind, old[path].rows, old[path].digest) != (new[path].kind, new[path].rows, new[path].digest):
            was, is_now = old[path].kind, new[path].kind
            yield f"{path} has changed" if was == is_now else f"{path} was read as {was} and is read as {is_now}"
    if old.keys() == new.keys() and list(old) != list(new):
        yield "the files come in another order"


def _find(paths: Iterable[str], leave_out: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """As `find_files`; also files of stores, and folders that are one table."""
    for path in paths:
        if is_address(path) and not path.endswith(TABLES["lance"]):
            yield from ((found, found == path) for found in find_addresses(path))
        elif path.rstrip(os.sep).endswith(TABLES["lance"]):
            yield path, True
        elif os.path.isdir(path) and (tables := datasets_files(path)) is not None:
            yield from ((table, True) for table in tables)
        else:
            yield from find_files([path], leave_out)


def _source(path: str, lines: bool, known: Source | None) -> Source:
    if path != printable(path):
        raise InputError("its name is not UTF-8: rename it")
    kind = _kind(path, lines)
    size, mtime_ns, stored = state_of(path, kind)
    if known and (known.kind, known.size, known.mtime_ns) == (kind, size, mtime_ns) and stored in ("", known.digest):
        return known
    rows, marks = 1, tuple[int, ...]()
    if kind in _OFFSETS:
        rows, marks = _marked(_OFFSETS[kind](path))
    elif kind == "pdf":
        rows = StoredPdf(path).num_pages if is_address(path) else num_pdf_pages(path)
    elif kind in TABLES:
        rows = num_table_rows(path, kind)
    elif kind == "text" and not size:
        raise NothingInsideError("the file is empty")
    return Source(path, kind, rows, size, mtime_ns, stored or digest_of(path, size, mtime_ns), marks)


_OFFSETS: dict[str, Callable[[str], Iterable[int]]] = {
    "lines": line_offsets,
    "jsonl": line_offsets,
    "csv": record_offsets,
    "tar": sample_offsets,
}
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tar": "tar"}


def state_of(path: str, kind: str) -> tuple[int, int, str]:
    """Size, time in nanoseconds, and the digest where it is there without reading. Raises OSError."""
    if kind == "lance":
        return 0, 0, lance_version(path)
    if is_address(path):
        size, etag = stored_state(path)
        return size, 0, etag
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, ""


def _kind(path: str, lines: bool) -> str:
    base = unpacked_name(path.rstrip(os.sep))
    suffix = os.path.splitext(base)[1]
    if suffix in TABLES.values():
        return next(kind for kind, ending in TABLES.items() if ending == suffix)
    if suffix == ".tar" or (is_packed(path) and suffix in _SUFFIXES):
        return _SUFFIXES[suffix]
    if is_packed(path):
        if lines:
            return "lines"
        raise InputError("compressed, and neither .jsonl, .csv nor .tar: set `lines`, or unpack it")
    kind = _kind_by_name(suffix) if is_address(path) else kind_of(path)
    return "lines" if kind == "text" and lines else kind


def _kind_by_name(suffix: str) -> str:
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix == ".pdf":
        return "pdf"
    return _SUFFIXES.get(suffix, "text")


def _marked(offsets: Iterable[int]) -> tuple[int, tuple[int, ...]]:
    rows, marks = 0, []
    for offset in offsets:
        if rows % MARK_ROWS == 0:
            marks.append(offset)
        rows += 1
    return rows, tuple(marks)


def digest_of(path: str, size: int, mtime_ns: int) -> str:
    """Hashes the whole file; of a very large one, its size, time, start and end."""
    digest = hashlib.blake2b(digest_size=16)
    with open_stored(path) as file:
        if size <= _WHOLE_DIGEST_BYTES:
            for block in iter(lambda: file.read(_SAMPLE_BYTES), b""):
                digest.update(block)
        else:
            digest.update(f"{size} {mtime_ns}".encode())
            digest.update(file.read(_SAMPLE_BYTES))
            file.seek(-_SAMPLE_BYTES, os.SEEK_END)
            digest.update(file.read())
    return digest.hexdigest()
