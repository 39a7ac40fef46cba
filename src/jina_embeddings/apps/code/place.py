"""Where the index of a repository is, and places in its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...errors import IndexNotFoundError, InputError
from ...pipeline.rows import printable
from .repository import OWN_FOLDER

_NAME = "code"


@dataclass(frozen=True, slots=True)
class Place:
    """An index and the repository that it is of. root: that repository, or None where the index says nothing of it."""

    address: str
    root: Path | None

    def shown(self, name: str) -> str:
        """The path of an indexed file as somebody here would write it."""
        if self.root is None:
            return name
        path = os.path.relpath(self.root / name)
        return str(self.root / name) if path.startswith(os.path.join("..", "..", "..")) else path

    def name_of(self, file: Path) -> str:
        """The path by which the index knows a file."""
        root = self.root or Path.cwd()
        return printable(Path(os.path.relpath(file.absolute(), root)).as_posix())


def own_index(root: Path) -> str:
    """The index of a repository that is kept in itself; git is told to ignore it."""
    folder = root / OWN_FOLDER
    folder.mkdir(exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return str(folder / _NAME)


def find_index(given: str | None, near: Path | None = None) -> Place:
    """The index that was given, else that of the repository around a file or around the current folder.

    Raises IndexNotFoundError.
    """
    start = Path.cwd() if near is None else near.absolute().parent
    found = next((folder for folder in (start, *start.parents) if (folder / OWN_FOLDER / _NAME).is_dir()), None)
    if given is not None:
        own = found is not None and Path(given).absolute() == found / OWN_FOLDER / _NAME
        return Place(given, found if own else None)
    if found is None:
        raise IndexNotFoundError(
            f"there is no index of {start} or a folder above it: make one with jina-embeddings code index"
        )
    return Place(str(found / OWN_FOLDER / _NAME), found)


def parse_place(text: str) -> tuple[Path, int]:
    """File and line of `FILE:LINE`. Raises InputError."""
    name, _, number = text.rpartition(":")
    if not name or not number.isdecimal() or int(number) < 1:
        raise InputError(f"{text!r} is no place: write FILE:LINE, such as main.py:12")
    path = Path(name)
    if not path.is_file():
        raise InputError(f"there is no file {name}")
    return path, int(number)
