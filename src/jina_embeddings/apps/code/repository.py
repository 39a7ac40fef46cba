"""The files of a repository: those that git tracks or doesn't ignore, or all of a folder that is not a repository."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Container, Iterator, Mapping
from functools import partial
from pathlib import Path

from ...errors import InputError, JinaEmbeddingsError, not_utf8, unreadable
from ...pipeline.files import find_files, kind_of
from ...pipeline.rows import Failure, LeftOut, NothingInsideError, printable
from ..index import Document, Passage
from .chunks import VERSION, cut
from .languages import language_of

OWN_FOLDER = ".jina-embeddings"
"""The folder of a repository that its index is kept in; it is never indexed."""

MAX_BYTES = 2**20
"""The largest file that is indexed; larger ones are data or generated."""

TEXT = "text"
"""The language of files that aren't code."""

# The configuration of somebody else's repository may name commands to run. We only list files, which runs no filters;
# these settings forbid the file system monitor, hooks, and fetching missing objects, which runs a remote's helper.
_NO_COMMANDS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.devnull)
_NO_FETCH = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}

# git's warning of a folder that it can't list, and passes over.
_NOT_OPENED = re.compile(rb"could not open directory '(.+)/'")

# Modes of git's index entries.
_LINK, _SUBMODULE = "120000", "160000"


class Repository:
    """A folder with source code, which may be a git repository.

    root: the folder; paths of files are relative to it, with `/`.

    Raises InputError if there is no such folder, or git can't read it.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root).absolute()
        if not self.root.is_dir():
            raise InputError(f"{root} is no folder: give a repository")
        self._unlisted = set[str]()
        self.is_git = self._is_git()

    def __len__(self) -> int:
        """Files in it, read or not."""
        return len(self._files())

    def documents(self, without: Container[str] = ()) -> Iterator[Document | Failure | LeftOut]:
        """A document for each text file; its state is a digest of the file's content.

        without: paths that are left out.
        """
        names = self._files()
        for name in sorted({*names, *self._unlisted}):
            if printable(name) not in without:
                yield from self._document(name)

    def gone(self, path: str) -> bool:
        """Whether a path that is not among the documents is known not to be one: its folders can all be listed."""
        folder = self.root
        return all(_is_listed(folder := folder / name) for name in Path(path).parts[:-1])

    def unchanged(self, states: Mapping[str, str]) -> frozenset[str]:
        """The paths of files whose content has the state that an index has for them."""
        names = {printable(name): name for name in self._files()}
        return frozenset(path for path in names if path in states and states[path] == self._state(names[path]))

    def _state(self, name: str) -> str | None:
        """The state of a file; None if it can't be read, or is one that is not indexed."""
        path = self.root / name
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                return None
            return self._known(name, _blob(path.read_bytes())).state
        except OSError:
            return None

    def _files(self) -> list[str]:
        """The paths of all files, sorted."""
        if not self.is_git:
            found = [Path(path).relative_to(self.root).as_posix() for path, _ in find_files([str(self.root)])]
            return [name for name in found if not _is_own(name)]
        return sorted(name for name in {*self._tracked(), *self._untracked()} if not _is_own(name))

    def _known(self, name: str, digest: str) -> Document:
        """The document of a file with this digest."""
        shown = printable(name)
        return Document(shown, f"{VERSION}:{digest}", partial(passages, shown, self.root / name))

    def _document(self, name: str) -> Iterator[Document | Failure | LeftOut]:
        path, shown = self.root / name, printable(name)
        try:
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) and not _is_listed(path):
                raise InputError("the folder can't be listed: change its permissions")
            if reason := _unfit(path, status):
                yield LeftOut(shown, reason)
            else:
                yield self._known(name, _blob(path.read_bytes()))
        except FileNotFoundError:
            return  # git still lists a file that was deleted without a commit
        except NothingInsideError as error:
            yield LeftOut(shown, str(error))
        except JinaEmbeddingsError as error:
            yield Failure(shown, error)
        except OSError as error:
            yield Failure(shown, unreadable(error))

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

    def _tracked(self) -> list[str]:
        """The files that git tracks, without links and submodules."""
        found = []
        for entry in self._names("ls-files", "--stage"):
            fields, _, name = entry.partition("\t")
            if fields.split(" ")[0] not in (_LINK, _SUBMODULE):
                found.append(name)
        return found

    def _untracked(self) -> list[str]:
        return self._names("ls-files", "--others", "--exclude-standard")

    def _names(self, *arguments: str) -> list[str]:
        command, *rest = arguments
        return [os.fsdecode(name) for name in self._git(command, "-z", *rest).split(b"\0") if name]

    def _git(self, *arguments: str) -> bytes:
        # LC_ALL: errors are recognised by their English messages.
        environment = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **_NO_FETCH}
        done = subprocess.run(
            ["git", "-C", str(self.root), *_NO_COMMANDS, *arguments], capture_output=True, env=environment, check=False
        )
        if done.returncode:
            raise InputError(f"git can't read {self.root}: {done.stderr.decode(errors='replace').strip()}")
        self._unlisted |= {os.fsdecode(name) for name in _NOT_OPENED.findall(done.stderr)}
        return done.stdout


def read_source(path: Path) -> str:
    """The text of a file. Raises InputError if it is not UTF-8, and OSError if it can't be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None


def passages(name: str, path: Path) -> Iterator[Passage]:
    """The chunks of a file as passages. name: the file's path in the index."""
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


def _is_listed(folder: Path) -> bool:
    """Whether a folder can be listed; of one that is not there, that it is known to be empty."""
    try:
        os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return True


def _is_own(name: str) -> bool:
    return name.partition("/")[0] == OWN_FOLDER


def _unfit(path: Path, status: os.stat_result) -> str:
    """Why a file is not indexed, empty if it is. Raises as `_is_text`."""
    if not stat.S_ISREG(status.st_mode):
        return "a link or another thing that is no file"
    if not status.st_size:
        return "the file is empty"
    if status.st_size > MAX_BYTES:
        return f"over {MAX_BYTES // 2**20} MiB"
    return "" if _is_text(path) else "neither code nor text"


def _is_text(path: Path) -> bool:
    """Whether a file is code or text. Raises NothingInsideError for files that are neither text, image nor PDF."""
    return language_of(path.name) is not None or kind_of(str(path)) == "text"


def _blob(data: bytes) -> str:
    """git's digest of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
