"""How full the packs of an engine are, or its padded batches: whether its device could do more at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

TENTHS = 10


@dataclass(slots=True)
class Fill:
    """The tokens of packs as shares of the most that each may have. Added to by one thread, read by any.

    counts: packs by their share, up to a tenth, above that up to two, and so on.
    total: sum of the shares.
    """

    counts: list[int] = field(default_factory=lambda: [0] * TENTHS)
    total: float = 0.0

    def add(self, num_tokens: int, most: int) -> None:
        # An input that is larger than a pack runs alone.
        share = min(1.0, num_tokens / most)
        self.counts[max(0, math.ceil(share * TENTHS) - 1)] += 1
        self.total += share

    @classmethod
    def joined(cls, fills: Iterable[Fill]) -> Fill:
        """Of several engines."""
        found = list(fills)
        return cls(
            [sum(counts) for counts in zip(*(one.counts for one in found), strict=True)], sum(f.total for f in found)
        )
