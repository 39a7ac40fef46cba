"""The approximate index over dense vectors: when there is one, how it is made, and how much of it a search reads.

Four bits a number (RaBitQ with an extended code) of every vector are read, as long as those are at most 200 million
numbers, and the best 100 are compared by their own vectors. Only beyond that are partitions far from the question
passed over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

ANN_NUMBERS = 5_000_000
"""An index of more numbers (passages times dimension) gets an approximate index; reading these takes about 10 ms."""

READ_NUMBERS = 200_000_000
"""Most numbers of four bits that one search reads."""

_NUM_BITS = 4
_PARTITION_ROWS = 4096
_COMPARED = 100
"""Candidates whose own vectors are read, at least four for each result."""


@dataclass(frozen=True, slots=True)
class ApproximateIndex:
    """What LanceDB says of it. unindexed: rows written since it was last extended; they are compared one by one."""

    num_bits: int | None
    num_rows: int
    unindexed: int
    size_bytes: int | None

    @property
    def is_outdated(self) -> bool:
        """Whether an earlier version made it, with fewer bits."""
        return self.num_bits != _NUM_BITS


def of_table(table: Any) -> ApproximateIndex | None:
    """None where all vectors are compared."""
    for index in table.list_indices():
        if index.columns == ["vector"]:
            num_bits = ((index.index_details or {}).get("compression") or {}).get("num_bits")
            return ApproximateIndex(num_bits, index.num_indexed_rows, index.num_unindexed_rows, index.size_bytes)
    return None


def build(table: Any) -> None:
    """Makes it anew, in the place of an earlier one."""
    from lancedb.index import IvfRq

    partitions = max(1, math.ceil(table.count_rows() / _PARTITION_ROWS))
    config = IvfRq(distance_type="dot", num_bits=_NUM_BITS, num_partitions=partitions)
    table.create_index("vector", config=config, replace=True)


def num_probes(dimension: int) -> int:
    """Partitions that a search reads; more than there are means all."""
    return max(1, READ_NUMBERS // (dimension * _PARTITION_ROWS))


def reads_all(num_rows: int, dimension: int) -> bool:
    return math.ceil(num_rows / _PARTITION_ROWS) <= num_probes(dimension)


def refine_factor(limit: int) -> int:
    """Candidates for each result."""
    return max(4, math.ceil(_COMPARED / limit))
