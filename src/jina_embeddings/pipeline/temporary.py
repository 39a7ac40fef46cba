"""What to do where a temporary file can't be made or written."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def is_of_a_disk(error: OSError) -> bool:
    """Whether a disk of this machine is full or read-only, or `tempfile` has found no folder."""
    return error.errno in _OF_A_DISK or (error.errno == errno.ENOENT and error.filename is None)


def remedy() -> str:
    """What to change, for the end of a message."""
    try:
        return f"make room in {tempfile.gettempdir()} for temporary files, or set TMPDIR to another folder"
    except OSError:
        return "set TMPDIR to a folder that can be written to"


@contextmanager
def temporary_files() -> Iterator[None]:
    """For a block that makes or writes some: an OSError of a full or missing folder says what to change."""
    try:
        yield
    except OSError as error:
        if not is_of_a_disk(error):
            raise
        raise OSError(error.errno, f"{error.strerror}: {remedy()}") from error
