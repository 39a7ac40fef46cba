"""`Files`: the documents of an index that are under given paths, and which of those it has are no longer there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from ...errors import DependencyError, InputError, JinaEmbeddingsError, unreadable
from ...inputs.sources import ANY_SOURCE, SourcePolicy
from ...pipeline.files import STDIN, find_files
from ...pipeline.readers import Reader
from ...pipeline.rows import Failure, LeftOut, NothingInsideError, printable
from ...pipeline.text import MAX_TEXT_BYTES, too_long
from ..index import Document
from ..index.paths import path_in
from ..index.update import Item
from .cutting import CUTTER_VERSION, format_of, passages_of
from .options import CutOptions
from .patterns import Patterns
from .records import images_digest

_READ_AT_ONCE = frozenset({"text", "markdown", "html", "notebook", "mail"})
"""Formats whose files are read into memory as a whole."""

_TEXT_SUFFIXES = frozenset({".txt", ".md", ".markdown", ".mdown", ".rst", ".html", ".htm", ".xhtml", ".log"})


class Files:
    """Files and folders as documents, each named by its path.

    leave_out: paths that are skipped, such as that of the index.
    root: a folder. Files below it are named by their paths relative to it, all others by absolute paths.
    include, exclude: patterns as in .gitignore, for paths relative to the given folders. A file has to match one of
        `include`, if any are given, and none of `exclude`.
    policy: the sources from which images of records may be read.
    allow_empty: whether a given folder without files means that its documents are gone. If not, they are kept, since
        the folder may be a mount point with nothing mounted.
    """

    def __init__(
        self,
        paths: Sequence[str],
        options: CutOptions | None = None,
        leave_out: Iterable[str] = (),
        *,
        root: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        policy: SourcePolicy = ANY_SOURCE,
        allow_empty: bool = False,
    ):
        if STDIN in paths:
            raise InputError("an index is made of files: standard input has no name to find it by again")
        # Absolute, but with symbolic links as they are: a file keeps the name under which it was found.
        self._paths = list(dict.fromkeys(map(os.path.abspath, paths)))
        self._options = options or CutOptions()
        self._root, self._policy = root, policy
        self._patterns = Patterns(include, exclude)
        self._leave_out = frozenset(map(os.path.abspath, leave_out))
        self._allow_empty = allow_empty
        self._unread: set[str] = set()

    def documents(self) -> Iterator[Item]:
        """Yields a document for each file; a `Failure` if it can't be read, a `LeftOut` if there is nothing in it."""
        for path in self._paths:
            for loop in _loops(path, self._leave_out):
                yield Failure(printable(loop), InputError("a link to a folder that it is in: not followed"))
            if (
                not self._allow_empty
                and os.path.isdir(path)
                and next(find_files([path], self._leave_out), None) is None
            ):
                wrong = "no files in it, so nothing is removed from the index: set `allow_empty` if that is right"
                yield self._failure(path, InputError(wrong))
        for path, named in self._find():
            name = self._name(path)
            try:
                yield self._document(path, name)
            except DependencyError:
                raise
            except NothingInsideError as error:
                told = named or (os.path.splitext(path)[1].lower() in _TEXT_SUFFIXES and _has_bytes(path))
                yield self._failure(path, error) if told else LeftOut(name, str(error))
            except JinaEmbeddingsError as error:
                yield self._failure(path, error)
            except OSError as error:
                yield self._failure(path, unreadable(error))

    def gone(self, name: str) -> bool:
        """Whether a document of the index that `documents` did not yield should be removed from it."""
        path = self._path(name)
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

    def missing(self, name: str) -> bool:
        """Whether there is nothing at the path of a document."""
        return not os.path.lexists(self._path(name))

    def _find(self) -> Iterator[tuple[str, bool]]:
        for given in self._paths:
            folder = given if os.path.isdir(given) else os.path.dirname(given)
            for path, named in find_files([given], self._leave_out):
                if self._patterns.fit(os.path.relpath(path, folder)):
                    yield path, named

    def _name(self, path: str) -> str:
        return printable(path_in(path, self._root))

    def _path(self, name: str) -> str:
        return name if self._root is None else os.path.join(self._root, name)

    def _failure(self, path: str, error: Exception) -> Failure:
        self._unread.add(path)
        return Failure(self._name(path), error)

    def _document(self, path: str, name: str) -> Document:
        form = format_of(path)
        size = os.stat(path).st_size
        if form in _READ_AT_ONCE and size > MAX_TEXT_BYTES:
            raise too_long()
        if not size:
            raise NothingInsideError("the file is empty")
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "blake2b").hexdigest()
        options, images = self._options, ""
        if form in ("jsonl", "csv"):
            images = images_digest(path, Reader(options.text_field, options.image_field), self._policy)
        return Document(
            name,
            f"{CUTTER_VERSION} {form} {digest} {images} {options.key()}",
            partial(passages_of, path, name, form, digest, options, self._policy),
            options.metadata,
        )


def _loops(path: str, leave_out: frozenset[str]) -> Iterator[str]:
    """Yields the symbolic links below a folder that point to a folder which they are in."""
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
