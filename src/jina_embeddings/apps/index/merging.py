"""When the files of a table are merged: LanceDB merges all of them at once, which for multi-vectors can be gigabytes.

Until they are merged, new rows have files of their own and are searched without the indices, so they must stay few.
"""

from __future__ import annotations

from typing import Any

_SMALL_BYTES = 256 * 2**20
"""A table up to this size is merged after every update, which takes about two seconds."""

_MAX_FILES = 64
_MAX_UNINDEXED_SHARE = 0.02


def is_due(table: Any) -> bool:
    stats = table.stats()
    if stats["total_bytes"] <= _SMALL_BYTES or is_merged(table):
        return True
    num_files = int(stats["fragment_stats"]["num_fragments"])
    return num_files > _MAX_FILES or _num_unindexed(table) > _MAX_UNINDEXED_SHARE * int(stats["num_rows"])


def is_merged(table: Any) -> bool:
    """Whether nothing is left to merge, so that LanceDB's `optimize` only removes old versions."""
    return int(table.stats()["fragment_stats"]["num_fragments"]) <= 1 and not _num_unindexed(table)


def _num_unindexed(table: Any) -> int:
    """The most rows that any index doesn't have yet."""
    return max((index.num_unindexed_rows for index in table.list_indices()), default=0)
