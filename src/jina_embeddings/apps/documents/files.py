"""Paths become documents of an index, and what has gone from them is known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from ...errors import DependencyError, InputError, JinaEmbeddingsError, unreadable
from ...pipeline.files import STDIN, find_files, kind_of
from ...pipeline.rows import Failure, LeftOut, NothingInsideError, printable
from ...pipeline.text import MAX_TEXT_BYTES, too_long
from ..index import Document
from ..index.update import Item
from .cutting import CUTTER, format_of, passages_of
from .options import CutOptions

_TEXT_SUFFIXES = frozenset({".txt", ".md", ".markdown", ".mdown", ".rst", ".html", ".htm", ".xhtml", ".log"})


class Files:
    """Files and folders, as documents under their absolute paths.

    leave_out: paths that are passed by, such as the index itself.
    allow_empty: a given folder without files means that its documents have gone; else they are kept, since it may be
        where something should be mounted.
    """

    def __init__(
        self,
        paths: Sequence[str],
        options: CutOptions | None = None,
        leave_out: Iterable[str] = (),
        *,
        allow_empty: bool = False,
    ):
        if STDIN in paths:
            raise InputError("an index is made of files: standard input has no name to find it by again")
        # Absolute, but not resolved: a file keeps the name by which it was found.
        self._paths = list(dict.fromkeys(map(os.path.abspath, paths)))
        self._options = options or CutOptions()
        self._leave_out = frozenset(map(os.path.abspath, leave_out))
        self._allow_empty = allow_empty
        self._unread: set[str] = set()

    def documents(self) -> Iterator[Item]:
        """Every file in turn; what can't be read is a `Failure`, and what holds nothing a `LeftOut`."""
        for path in self._paths:
            for loop in _loops(path, self._leave_out):
                yield Failure(printable(loop), InputError("a link to a folder that it is in: not followed"))
            if (
                not self._allow_empty
                and os.path.isdir(path)
                and next(find_files([path], self._leave_out), None) is None
            ):
                wrong = "no files in it, so nothing is removed from the index: set `allow_empty` if that is right"
                yield self._failure(printable(path), InputError(wrong))
        for path, named in find_files(self._paths, self._leave_out):
            name = printable(path)
            try:
                yield self._document(path, name)
            except DependencyError:
                raise
            except NothingInsideError as error:
                told = named or (os.path.splitext(path)[1].lower() in _TEXT_SUFFIXES and _has_bytes(path))
                yield self._failure(name, error) if told else LeftOut(name)
            except JinaEmbeddingsError as error:
                yield self._failure(name, error)
            except OSError as error:
                yield self._failure(name, unreadable(error))

    def gone(self, path: str) -> bool:
        """Whether a document that `documents` did not name should leave the index."""
        if not any(_is_in(path, given) for given in self._paths):
            return False
        if any(_is_in(path, unread) for unread in self._unread):
            return False
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return True

    def _failure(self, name: str, error: Exception) -> Failure:
        self._unread.add(name)
        return Failure(name, error)

    def _document(self, path: str, name: str) -> Document:
        kind = kind_of(path)
        form = format_of(path, kind)
        size = os.stat(path).st_size
        if kind == "text" and size > MAX_TEXT_BYTES:
            raise too_long()
        if not size:
            raise NothingInsideError("the file is empty")
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "blake2b").hexdigest()
        return Document(
            name,
            f"{CUTTER} {form} {digest} {self._options.key()}",
            partial(passages_of, path, name, form, digest, self._options),
        )


def _loops(path: str, leave_out: frozenset[str]) -> Iterator[str]:
    """Links below a folder that lead to a folder above themselves."""
    for folder, names, _ in os.walk(path):
        names[:] = sorted(n for n in names if not n.startswith(".") and os.path.join(folder, n) not in leave_out)
        for name in names:
            link = os.path.join(folder, name)
            if os.path.islink(link) and _is_in(os.path.realpath(folder), os.path.realpath(link)):
                yield link


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False
