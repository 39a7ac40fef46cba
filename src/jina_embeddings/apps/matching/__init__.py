"""Text matching: scores of pairs, translations in two files, duplicates, paraphrases.

`Matcher` takes texts and images. The functions that it calls take vectors and need no model.
"""

from __future__ import annotations

from .bitext import mine_bitext
from .dedup import Duplicates, Group, deduplicate, deduplicate_to_rate
from .matcher import Matcher
from .pairs import Pair
from .paraphrases import mine_paraphrases

__all__ = [
    "Duplicates",
    "Group",
    "Matcher",
    "Pair",
    "deduplicate",
    "deduplicate_to_rate",
    "mine_bitext",
    "mine_paraphrases",
]
