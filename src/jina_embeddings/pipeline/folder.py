"""The folder of a run: on a disk of this machine, or at an address of an object store."""

from __future__ import annotations

import io
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from .drafts import Draft, remove_abandoned, sync_folder
from .stores import is_address, make_folder, store_of
from .temporary import is_of_a_disk, remedy

_LOCAL_SCHEMES = ("file://", "local://")


class Drafted(Protocol):
    """A file that appears under its name whole or not at all. path: where it lies until then."""

    @property
    def file(self) -> IO[bytes]: ...

    @property
    def path(self) -> Path: ...

    def commit(self) -> None:
        """Replaces any file of that name; after this, `discard` does nothing."""

    def commit_new(self) -> None:
        """Does nothing where there is a file of that name already."""

    def discard(self) -> None: ...


class Folder(ABC):
    """A folder whose files are addressed by their paths below it, with / as separator."""

    @staticmethod
    def at(address: str | os.PathLike[str]) -> Folder:
        """Raises DependencyError where the package for a store is missing, InputError for an unknown scheme."""
        name = os.fspath(address)
        if not is_address(name):
            return LocalFolder(Path(name))
        _, path = store_of(name)
        if name.lower().startswith(_LOCAL_SCHEMES):
            return LocalFolder(Path(path))
        return StoreFolder(name.rstrip("/"))

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Raises FileNotFoundError."""

    @abstractmethod
    def draft(self, name: str) -> Drafted: ...

    @abstractmethod
    def size(self, name: str) -> int:
        """The size of a file in bytes. Raises FileNotFoundError."""

    @abstractmethod
    def names(self) -> list[str]:
        """Of what lies in the folder itself, hidden files left out; nothing where there is no folder."""

    @abstractmethod
    def locked(self, name: str, *, exclusive: bool) -> AbstractContextManager[bool]:
        """Whether the lock is ours until the block ends."""

    @abstractmethod
    def tidy(self) -> None:
        """Removes what writers have left that were killed before the run had begun."""

    @abstractmethod
    def remedy(self, error: OSError) -> str:
        """What to change where a file couldn't be written, for the end of a message."""

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        with self.open(name) as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        draft = self.draft(name)
        try:
            draft.file.write(data)
            draft.commit()
        finally:
            draft.discard()


@dataclass(frozen=True, slots=True)
class LocalFolder(Folder):
    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")

    def draft(self, name: str) -> Draft:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return Draft(target)

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def names(self) -> list[str]:
        if not self.path.is_dir():
            return []
        return sorted(path.name for path in self.path.iterdir() if not path.name.startswith("."))

    @contextmanager
    def locked(self, name: str, *, exclusive: bool) -> Iterator[bool]:
        self.path.mkdir(parents=True, exist_ok=True)
        sync_folder(self.path.parent)
        with (self.path / name).open("a") as file:
            yield _flock(file, exclusive=exclusive)

    def tidy(self) -> None:
        remove_abandoned(self.path / "_manifest.json")

    def remedy(self, error: OSError) -> str:
        return f"make room in {self}, or let it be written to"


@dataclass(frozen=True, slots=True)
class StoreFolder(Folder):
    """A store has no locks: who writes the same file last is the one that is kept."""

    address: str

    def __str__(self) -> str:
        return self.address

    def open(self, name: str) -> IO[bytes]:
        filesystem, path = store_of(self.address)
        # One request for what is small, where opening would ask for its size first.
        if name.endswith((".json", ".jsonl")):
            return io.BytesIO(filesystem.cat_file(f"{path}/{name}"))
        return filesystem.open(f"{path}/{name}", "rb")  # type: ignore[no-any-return]

    def draft(self, name: str) -> StoreDraft:
        return StoreDraft(f"{self.address}/{name}")

    def size(self, name: str) -> int:
        filesystem, path = store_of(self.address)
        return int(filesystem.size(f"{path}/{name}"))

    def names(self) -> list[str]:
        filesystem, path = store_of(self.address)
        filesystem.invalidate_cache(path)
        with suppress(FileNotFoundError):
            found = (name.rstrip("/").rpartition("/")[2] for name in filesystem.ls(path, detail=False))
            return sorted(name for name in found if name and not name.startswith("."))
        return []

    @contextmanager
    def locked(self, name: str, *, exclusive: bool) -> Iterator[bool]:
        yield True

    def tidy(self) -> None:
        """A store shows nothing that is not whole."""

    def remedy(self, error: OSError) -> str:
        """Files are written here first, so a full disk is one of this machine."""
        return remedy() if is_of_a_disk(error) else f"let {self} be written to"


class StoreDraft:
    """A temporary file here, put into the store in one go: fsspec's own files appear half written after an error."""

    def __init__(self, address: str):
        self._address = address
        handle, name = tempfile.mkstemp(prefix="jina-embeddings-")
        self.path = Path(name)
        self.file: IO[bytes] = os.fdopen(handle, "r+b")

    def commit(self) -> None:
        self._put("overwrite")

    def commit_new(self) -> None:
        with suppress(FileExistsError):
            self._put("create")

    def discard(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)

    def _put(self, mode: str) -> None:
        self.file.flush()
        filesystem, path = store_of(self._address)
        if mode == "create" and filesystem.exists(path):
            raise FileExistsError(self._address)
        options = {"mode": mode} if mode == "create" else {}
        try:
            filesystem.put_file(str(self.path), path, **options)
        except FileNotFoundError:
            if not make_folder(self._address.rpartition("/")[0]):
                raise
            filesystem.put_file(str(self.path), path, **options)


def _flock(file: IO[str], *, exclusive: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
