"""Finds the index of a repository, and parses `FILE:LINE`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...errors import IndexNotFoundError, InputError
from ...pipeline.rows import printable
from .repository import OWN_FOLDER

# The folder of the index within OWN_FOLDER.
_INDEX_NAME = "code"


@dataclass(frozen=True, slots=True)
class Place:
    """The address of an index, and the root of its repository; None if the index is kept elsewhere."""

    address: str
    root: Path | None

    def shown(self, name: str) -> str:
        """The path of an indexed file, relative to the current folder unless it is far away."""
        if self.root is None:
            return name
        path = os.path.relpath(self.root / name)
        return str(self.root / name) if path.startswith(os.path.join("..", "..", "..")) else path

    def name_of(self, file: Path) -> str:
        """The path of a file as the index has it."""
        root = self.root or Path.cwd()
        return printable(Path(os.path.relpath(file.absolute(), root)).as_posix())


def own_index(root: Path) -> str:
    """The address of the index inside a repository; makes its folder, with a .gitignore that hides it from git."""
    folder = root / OWN_FOLDER
    folder.mkdir(exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return str(folder / _INDEX_NAME)


def find_index(given: str | None, near: Path | None = None) -> Place:
    """The given index, or else the one of the repository that a file, or the current folder, is in.

    Raises IndexNotFoundError if there is none.
    """
    start = Path.cwd() if near is None else near.absolute().parent
    found = next((folder for folder in (start, *start.parents) if (folder / OWN_FOLDER / _INDEX_NAME).is_dir()), None)
    if given is not None:
        own = found is not None and Path(given).absolute() == found / OWN_FOLDER / _INDEX_NAME
        return Place(given, found if own else None)
    if found is None:
        raise IndexNotFoundError(
            f"there is no index of {start} or a folder above it: make one with jina-embeddings code index"
        )
    return Place(str(found / OWN_FOLDER / _INDEX_NAME), found)


def parse_place(text: str) -> tuple[Path, int]:
    """The file and the line of `FILE:LINE`. Raises InputError for other texts, and if there is no such file."""
    name, _, number = text.rpartition(":")
    if not name or not number.isdecimal() or int(number) < 1:
        raise InputError(f"{text!r} is no place: write FILE:LINE, such as main.py:12")
    path = Path(name)
    if not path.is_file():
        raise InputError(f"there is no file {name}")
    return path, int(number)
