"""Which files a list of paths stands for, and what each of them holds."""

from __future__ import annotations

import codecs
import os
import stat
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Literal

from ..errors import InputError
from .rows import NothingInsideError
from .text import binary, encoding_of_mark, open_unpacked, unpacked_name

Kind = Literal["text", "image", "pdf", "jsonl", "csv"]

STDIN = "-"
IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jpeg", ".jpg"}
    | {".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
_SUFFIXES: dict[str, Kind] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".pdf": "pdf"}
_HEAD_BYTES = 8192


def find_files(paths: Iterable[str], leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, bool]]:
    """(path, whether it was named itself) for each path, with the files below it in the place of a folder.

    A folder's entries come in the order of their names; hidden ones and the absolute paths in `leave_out`
    do not, nor does what this package writes into folders: indexes and bulk runs. A folder that links lead to twice is
    entered once. One that can't be listed is given itself, and so is an index or a run that is named.
    """
    for path in paths:
        seen: set[tuple[int, int]] = set()
        pending = [path]
        while pending:
            current = pending.pop()
            named = current == path
            if (named and current == STDIN) or not os.path.isdir(current):
                yield current, named
                continue
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            try:
                names = sorted(os.listdir(current), reverse=True)
            except OSError:
                yield current, True
                continue
            if _is_own_output(names):
                if named:
                    yield current, True
                continue
            inside = [os.path.join(current, name) for name in names if not name.startswith(".")]
            pending += [name for name in inside if os.path.abspath(name) not in leave_out]


def count_files(paths: Iterable[str]) -> Iterator[int]:
    """Yields 1 for each file of the paths."""
    return (1 for _ in find_files(paths))


def _is_own_output(names: Collection[str]) -> bool:
    """Whether a folder with these entries is an index or a bulk run."""
    return "passages.lance" in names or {"_manifest.json", "_rejects"} <= set(names)


def kind_of(path: str) -> Kind:
    """By suffix where that says enough, else by the first bytes.

    Raises:
        NothingInsideError: nothing that can be embedded, or no file (a socket, a pipe).
        OSError: it isn't there, or can't be read.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        with suppress(PermissionError):
            if _is_own_output(os.listdir(path)):
                raise InputError("an index, or a bulk run: give the folder of the documents")
        raise InputError("the folder can't be listed: change its permissions")
    if not stat.S_ISREG(mode):
        raise NothingInsideError(f"not a regular file: for a pipe, give {STDIN} and write to standard input")
    name = unpacked_name(path)
    packed, suffix = len(name) < len(path), os.path.splitext(name)[1]
    kind: Kind | None = "image" if suffix in IMAGE_SUFFIXES else _SUFFIXES.get(suffix)
    if packed and kind in ("image", "pdf"):
        raise InputError("packed: unpack it")
    if kind:
        return kind
    try:
        with open_unpacked(path) as file:
            head = file.read(_HEAD_BYTES)
    except (EOFError, zlib.error) as error:
        raise InputError(f"a broken .gz: {error}") from error
    if packed and b"\0" in head:
        raise binary()
    if head.startswith(b"%PDF-"):
        return "pdf"
    encoding = encoding_of_mark(head)
    if encoding and "\0" not in head.decode(encoding, "ignore"):
        return "text"
    if not _is_text(head) and _is_image(path):
        return "image"
    if b"\0" in head:
        raise binary()
    return "text"


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _is_image(path: str) -> bool:
    from PIL import Image

    from ..inputs.decoding import FORMATS

    Image.init()
    try:
        Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]).close()
    except Exception:  # Pillow's plugins raise nearly anything for what isn't theirs
        return False
    return True
