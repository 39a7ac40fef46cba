"""Pairs on standard output."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..apps.matching import Pair
from .console import say
from .matching_run import Inputs


def print_found(pairs: Sequence[Pair], left: Inputs, right: Inputs, as_json: bool) -> None:
    """A line a pair; how many there are, on stderr."""
    for pair in pairs:
        texts = left.text(pair.left), right.text(pair.right)
        if as_json:
            record = {
                "score": round(pair.score, 6),
                "cosine": round(pair.cosine, 6),
                "left": {"id": left.names[pair.left], "text": texts[0]},
                "right": {"id": right.names[pair.right], "text": texts[1]},
            }
            print(json.dumps(record, ensure_ascii=False))
        else:
            print(f"{pair.score:.4f}\t{texts[0]}\t{texts[1]}")
    say(f"{len(pairs):,} {'pair' if len(pairs) == 1 else 'pairs'}")
