"""Parameters of the approximate index over dense vectors: when it is built, how, and how much of it a search reads.

The index stores four bits of each number (extended RaBitQ). A search reads all of them, up to 200 million numbers, and
compares the best 100 candidates by their full vectors. Larger indices are read only in the partitions nearest to the
question.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

ANN_NUMBERS = 5_000_000
"""Above this many numbers (passages times dimension) an approximate index is built; exact search takes 10 ms there."""

READ_NUMBERS = 200_000_000
"""The most numbers that one search reads in the approximate index."""

_NUM_BITS = 4
_PARTITION_ROWS = 4096
_COMPARED = 100
"""Candidates that are compared by their full vectors; at least four for each result."""


@dataclass(frozen=True, slots=True)
class ApproximateIndex:
    """LanceDB's description of the index. unindexed: rows written since it was extended, which are compared exactly."""

    num_bits: int | None
    num_rows: int
    unindexed: int
    size_bytes: int | None

    @property
    def is_outdated(self) -> bool:
        """Whether an earlier version of this package built it, with fewer bits."""
        return self.num_bits != _NUM_BITS


def of_table(table: Any) -> ApproximateIndex | None:
    """Returns the table's approximate index, None if it has none."""
    for index in table.list_indices():
        if index.columns == ["vector"]:
            num_bits = ((index.index_details or {}).get("compression") or {}).get("num_bits")
            return ApproximateIndex(num_bits, index.num_indexed_rows, index.num_unindexed_rows, index.size_bytes)
    return None


def build(table: Any) -> None:
    """Builds the approximate index, and replaces an earlier one."""
    from lancedb.index import IvfRq

    partitions = max(1, math.ceil(table.count_rows() / _PARTITION_ROWS))
    config = IvfRq(distance_type="dot", num_bits=_NUM_BITS, num_partitions=partitions)
    table.create_index("vector", config=config, replace=True)


def num_probes(dimension: int) -> int:
    """Returns how many partitions a search reads, which may be more than there are."""
    return max(1, READ_NUMBERS // (dimension * _PARTITION_ROWS))


def reads_all(num_rows: int, dimension: int) -> bool:
    return math.ceil(num_rows / _PARTITION_ROWS) <= num_probes(dimension)


def refine_factor(limit: int) -> int:
    """Returns how many candidates are compared by their full vectors for each result."""
    return max(4, math.ceil(_COMPARED / limit))
