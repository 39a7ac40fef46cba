"""The files of a repository: as git has them, what it ignores left out; or those of a plain folder."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Container, Iterator, Mapping
from functools import partial
from pathlib import Path

from ...errors import InputError, JinaEmbeddingsError
from ...pipeline.files import NothingInsideError, find_files, kind_of
from ...pipeline.rows import Failure, LeftOut, printable
from ..index import Document, Passage
from .chunks import VERSION, cut
from .languages import language_of

OWN_FOLDER = ".jina-embeddings"
"""Where an index is kept in a repository; never indexed itself."""

MAX_BYTES = 2**20
"""Larger files are data or generated."""

TEXT = "text"
"""The language of what is no code."""

_LINK, _SUBMODULE = "120000", "160000"


class Repository:
    """A folder with source code, of git or not.

    root: the folder; paths are relative to it, with `/`.

    Raises InputError where there is no such folder, or git refuses to read it.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root).absolute()
        if not self.root.is_dir():
            raise InputError(f"{root} is no folder: give a repository")
        self.is_git = self._is_git()

    def documents(self, without: Container[str] = ()) -> Iterator[Document | Failure | LeftOut]:
        """Every file with text in it; those that are as git has them are known by git's own digest, and not read.

        without: paths that are not looked at.
        """
        for name, digest in self._files().items():
            if printable(name) not in without:
                yield from self._document(name, digest)

    def unchanged(self, states: Mapping[str, str]) -> frozenset[str]:
        """Paths that, as git has them, are in the state that an index has them in; none where there is no git."""
        known = (self._known(name, digest) for name, digest in self._files().items() if digest)
        return frozenset(document.path for document in known if states.get(document.path) == document.state)

    def _files(self) -> dict[str, str]:
        """Names, and digests of those that are as git has them; empty for all others."""
        if not self.is_git:
            found = (Path(path).relative_to(self.root).as_posix() for path, _ in find_files([str(self.root)]))
            return {name: "" for name in found if not _is_own(name)}
        files = self._tracked()
        for name in [*self._names("diff-files", "--name-only", "--relative"), *self._untracked()]:
            files[name] = ""
        return {name: files[name] for name in sorted(files) if not _is_own(name)}

    def _known(self, name: str, digest: str) -> Document:
        """A file of such a git digest."""
        shown = printable(name)
        return Document(shown, f"{VERSION}:{digest}", partial(passages, shown, self.root / name))

    def _document(self, name: str, digest: str) -> Iterator[Document | Failure | LeftOut]:
        path, shown = self.root / name, printable(name)
        try:
            status = path.lstat()
            if not (stat.S_ISREG(status.st_mode) and status.st_size and _is_text(path)):
                yield LeftOut(shown)
            elif status.st_size > MAX_BYTES:
                yield Failure(shown, InputError(f"over {MAX_BYTES >> 20} MiB: data, or generated, and not indexed"))
            else:
                yield self._known(name, digest or _blob(path.read_bytes()))
        except FileNotFoundError:
            return  # deleted, and not committed yet
        except NothingInsideError:
            yield LeftOut(shown)
        except JinaEmbeddingsError as error:
            yield Failure(shown, error)
        except OSError as error:
            yield Failure(shown, InputError(f"can't be read: {error.strerror or error}"))

    def _is_git(self) -> bool:
        try:
            self._git("rev-parse", "--is-inside-work-tree")
        except FileNotFoundError:
            return False
        except InputError as error:
            if "not a git repository" in str(error):
                return False
            raise
        return True

    def _tracked(self) -> dict[str, str]:
        """Digests of the files that git knows, without links and submodules."""
        found = {}
        for entry in self._names("ls-files", "--stage"):
            fields, _, name = entry.partition("\t")
            mode, digest, _ = fields.split(" ")
            if mode not in (_LINK, _SUBMODULE):
                found[name] = digest
        return found

    def _untracked(self) -> list[str]:
        return self._names("ls-files", "--others", "--exclude-standard")

    def _names(self, *arguments: str) -> list[str]:
        command, *rest = arguments
        return [os.fsdecode(name) for name in self._git(command, "-z", *rest).split(b"\0") if name]

    def _git(self, *arguments: str) -> bytes:
        # In English whatever the user's language: an error is told by its words.
        environment = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments], capture_output=True, env=environment, check=False
        )
        if done.returncode:
            raise InputError(f"git can't read {self.root}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout


def read_source(path: Path) -> str:
    """The text of a file. Raises InputError where it is not UTF-8, OSError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 at byte {error.start}: convert it") from None


def passages(name: str, path: Path) -> Iterator[Passage]:
    """The pieces of a file as passages. name: the path that an index knows it by."""
    text = read_source(path)
    language = language_of(name, text)
    for chunk in cut(name, text):
        yield Passage(
            path=name,
            kind="code",
            text=chunk.text,
            title=chunk.symbol,
            start=chunk.start,
            end=chunk.end,
            line=chunk.first,
            end_line=chunk.last,
            metadata={"language": language.name if language else TEXT},
        )


def _is_own(name: str) -> bool:
    return name.partition("/")[0] == OWN_FOLDER


def _is_text(path: Path) -> bool:
    """Raises NothingInsideError for what is neither text nor an image nor a PDF."""
    return language_of(path.name) is not None or kind_of(str(path)) == "text"


def _blob(data: bytes) -> str:
    """The digest that git gives to such a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
