"""The types of data sets: queries with documents, and word pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["retrieval", "text-matching", "code"]
TASKS: tuple[Task, ...] = ("retrieval", "text-matching", "code")


@dataclass(frozen=True)
class Pairs:
    """Queries and documents; document i is the only answer of query i.

    Attributes:
        name: also its key in the results; the part before `/` is the family that a mean is taken over.
        task: the task whose adapter it is meant for.
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
    """Pairs of words with human similarity ratings."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]
