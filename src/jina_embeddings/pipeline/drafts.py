"""A file that appears under its name whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import IO

from ..errors import OptionError


def remove_abandoned(target: Path) -> None:
    """Removes drafts of `target` whose writers have ended: a writer holds a lock on its own."""
    for path in target.parent.glob(f".{escape(target.name)}.*.part"):
        try:
            with path.open("rb") as file:
                if _lock(file):
                    path.unlink(missing_ok=True)
        except OSError:
            continue


def check_target(target: Path, inputs: Iterable[str]) -> None:
    """Raises OptionError for an output that is no plain file, or that is one of the inputs, by whatever name.

    inputs: paths; what is in a folder is no matter.
    """
    if not target.exists():
        return
    if not target.is_file():
        raise OptionError(f"output {str(target)!r} is no plain file, so it can't be replaced: give the name of one")
    for path in inputs:
        if os.path.exists(path) and os.path.samefile(path, target):
            raise OptionError(f"output {str(target)!r} would overwrite the input {path!r}: give another name")


def sync_folder(folder: Path) -> None:
    """Syncs a folder: before that, a power failure may undo a rename in it."""
    if os.name == "nt":  # a folder can't be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(file: IO[bytes], *, wait: bool = False) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: nothing is known of the writer, so nothing is removed
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Draft:
    """An open file under a hidden name beside `target`, which `commit` gives it.

    Where `target` is a symbolic link, it stays one, and the file that it leads to is the one that is replaced.
    """

    def __init__(self, target: Path):
        target = Path(os.path.realpath(target))
        self._target = target
        remove_abandoned(target)
        while True:
            self.path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
            self.file = self.path.open("xb")
            _lock(self.file, wait=True)
            if self.path.exists():
                break
            # Before it was locked, another process took it for one that was abandoned.
            self.file.close()

    def commit(self) -> None:
        """Replaces any file of that name; after this, `discard` does nothing."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.path, self._target)
        sync_folder(self._target.parent)

    def commit_new(self) -> None:
        """Does nothing where there is a file of that name already."""
        self.file.flush()
        os.fsync(self.file.fileno())
        with suppress(FileExistsError):
            os.link(self.path, self._target)
        sync_folder(self._target.parent)

    def discard(self) -> None:
        try:
            self.file.close()
        finally:
            self.path.unlink(missing_ok=True)
