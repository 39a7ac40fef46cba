"""What an evaluation set is, and all sets by name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

Task = Literal["retrieval", "text-matching", "code"]
TASKS: tuple[Task, ...] = ("retrieval", "text-matching", "code")


@dataclass(frozen=True)
class Pairs:
    """Query i belongs to document i and to no other.

    Attributes:
        name: also its key in the results; the part before `/` is the family that a mean is taken over.
        task: the task whose adapter it is meant for; a text-matching set has no roles.
    """

    name: str
    task: Task
    queries: tuple[str, ...]
    documents: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.queries) != len(self.documents):
            raise ValueError(f"{self.name}: {len(self.queries)} queries for {len(self.documents)} documents")

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Words:
    """Pairs of words, and how alike people find them."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Pictures:
    """Picture i (an encoded image) belongs to text i."""

    name: str
    texts: tuple[str, ...]
    images: tuple[bytes, ...]


@dataclass(frozen=True)
class Sets:
    """All that one evaluation runs on; `skipped` says in a sentence each what is absent, and why."""

    pairs: tuple[Pairs, ...]
    words: tuple[Words, ...] = ()
    pages: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def pools(self) -> dict[str, int]:
        """How many documents a query of each set is looked for in."""
        return {pairs.name: len(pairs.documents) for pairs in self.pairs} | {"pages": len(self.pages)}

    def family(self, name: str) -> tuple[Pairs, ...]:
        """The sets of one family."""
        return tuple(pairs for pairs in self.pairs if pairs.family == name)


def fingerprint(data: Pairs | Words) -> str:
    """A hash of everything in a set."""
    return hashlib.sha256(json.dumps(asdict(data)).encode()).hexdigest()[:16]
