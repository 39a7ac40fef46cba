"""Whether the files of a run are what they were when it was planned."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ..errors import RunMismatchError
from .sources import Source, digest_of, state_of
from .stores import forget, is_address, list_again

_FEW_ADDRESSES = 16
"""So many are asked for one by one; of more, their folders are listed."""


def is_other(source: Source) -> bool:
    """Whether the file has another size, time or etag than when it was surveyed."""
    size, mtime_ns, stored = state_of(source.path, source.kind)
    return (size, mtime_ns) != (source.size, source.mtime_ns) or stored not in ("", source.digest)


def check_shard(sources: Sequence[Source]) -> None:
    """Raises RunMismatchError for a file whose rows in a shard may be others than were planned.

    Addresses of a store are asked for where they are few; all of them are at the end, by `check_all`.
    """
    addresses = [source.path for source in sources if is_address(source.path)]
    few = len(addresses) <= _FEW_ADDRESSES
    forget(addresses if few else [])
    # A node of a cluster may have a copy of its own, with another time.
    _check((source for source in sources if few or not is_address(source.path)), times_count=False)


def check_all(sources: Sequence[Source]) -> None:
    """The same of all files of a run, as its next call would look at them."""
    addresses = [source.path for source in sources if is_address(source.path)]
    forget(addresses)
    folders = Counter(path.rpartition("/")[0] for path in addresses)
    list_again(folder for folder, count in folders.items() if count > _FEW_ADDRESSES)
    _check(sources, times_count=True)


def changed_meanwhile(path: str) -> RunMismatchError:
    """The error for a file that is another one than was planned."""
    return RunMismatchError(
        f"{path} has changed since the run was planned: put it back as it was and begin the same run again, or give "
        "another folder"
    )


def _check(sources: Iterable[Source], *, times_count: bool) -> None:
    for source in sources:
        try:
            if source.kind != "unreadable" and is_other(source) and _digest_differs(source, times_count=times_count):
                raise changed_meanwhile(source.path)
        except FileNotFoundError:
            continue  # what was read of it is right, and what was not is rejected


def _digest_differs(source: Source, *, times_count: bool) -> bool:
    """A file that was only touched is the same.

    times_count: a very large file is another where its time is another.
    """
    if source.kind == "lance" or is_address(source.path):
        return True
    status = os.stat(source.path)
    if status.st_size != source.size:
        return True
    mtime_ns = status.st_mtime_ns if times_count else source.mtime_ns
    return _digest(source.path, source.size, mtime_ns, status.st_mtime_ns) != source.digest


@lru_cache(maxsize=16)
def _digest(path: str, size: int, mtime_ns: int, _seen_ns: int) -> str:
    """Once for all shards of a file."""
    return digest_of(path, size, mtime_ns)
