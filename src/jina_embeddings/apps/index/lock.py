"""Lets one process at a time write to an index in a folder; the lock ends with its process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import IndexBusyError, OptionError
from .address import is_remote, reaching

_NAME = ".writer"


@contextmanager
def written_by_us(address: str) -> Iterator[None]:
    """Locks an index. Raises IndexBusyError if another process has the lock. Object stores are not locked."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    if is_remote(address):
        yield
        return
    if not address or os.path.isfile(address):
        raise OptionError(f"{address} is a file: give a folder" if address else "no folder is named: give one")
    with reaching(address):
        os.makedirs(address, exist_ok=True)
        file = open(os.path.join(address, _NAME), "a")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IndexBusyError(f"another process is writing to {address}: wait until it has ended") from None
        yield
