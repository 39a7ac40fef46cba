"""`Matcher`: scores, bitext mining, deduplication and paraphrase mining of texts and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, OptionError
from ...inputs.prompts import resolve_task
from ...vectors.similarity import similarity
from .bitext import NEIGHBOURS, mine_bitext
from .dedup import THRESHOLD, Duplicates, deduplicate, deduplicate_to_rate
from .pairs import Pair
from .paraphrases import mine_paraphrases

if TYPE_CHECKING:
    from ...calls.options import Input
    from ...embedder import JinaEmbeddings
    from ...types import FloatArray


class Matcher:
    """Compares inputs of `JinaEmbeddings.encode`: texts in any language, and images.

        matcher = Matcher(model)
        matcher.scores(["A dog barks."], ["Ein Hund bellt."])

    Args:
        task: the task of the vectors; `text-matching` was trained for such comparisons.
        truncate_dim: size of the vectors; smaller ones take less memory and time.
        batch_size, max_length, show_progress: as in `JinaEmbeddings.encode`.
    """

    def __init__(
        self,
        model: JinaEmbeddings,
        *,
        task: str = "text-matching",
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        show_progress: bool = False,
    ):
        self.model = model
        self.task, self._prompt = resolve_task(task)
        self._options: dict[str, Any] = {
            "truncate_dim": truncate_dim,
            "batch_size": batch_size,
            "max_length": max_length,
            "show_progress": show_progress,
        }

    def vectors(self, inputs: Sequence[Input]) -> FloatArray:
        """The vectors (n, dim) of inputs; (0, dim) for an empty list. Raises InputError for a single text."""
        if isinstance(inputs, str):
            raise InputError("a list of inputs, not one text: put it into a list")
        if not len(inputs):
            dim = self._options["truncate_dim"] or self.model.info.dimension
            return np.zeros((0, dim), dtype=np.float32)
        vectors: FloatArray = self.model.encode(list(inputs), task=self.task, prompt_name=self._prompt, **self._options)
        return vectors

    def scores(self, left: Sequence[Input], right: Sequence[Input]) -> FloatArray:
        """The cosines (n,) of pairs: of each input on the left with the one of the same index on the right.

        Raises InputError if the lists have different lengths.
        """
        if isinstance(left, str) or isinstance(right, str):
            raise InputError("pairs are two lists: put single texts into lists")
        if len(left) != len(right):
            raise InputError(f"pairs need as many inputs on the left ({len(left)}) as on the right ({len(right)})")
        vectors = self.vectors([*left, *right])
        scores = np.einsum("ij,ij->i", vectors[: len(left)], vectors[len(left) :])
        return np.asarray(scores, dtype=np.float32)

    def matrix(self, left: Sequence[Input], right: Sequence[Input] | None = None) -> FloatArray:
        """The cosines (n, m) of each input on the left with each on the right, or with each on the left for None."""
        vectors = self.vectors(left)
        return similarity(vectors, vectors if right is None else self.vectors(right))

    def bitext(
        self,
        source: Sequence[Input],
        target: Sequence[Input],
        *,
        neighbours: int = NEIGHBOURS,
        min_margin: float = 1.0,
    ) -> list[Pair]:
        """Pairs (source, target) that translate each other; see `mine_bitext`."""
        return mine_bitext(self.vectors(source), self.vectors(target), neighbours=neighbours, min_margin=min_margin)

    def duplicates(
        self, inputs: Sequence[Input], *, threshold: float | None = None, rate: float | None = None
    ) -> Duplicates:
        """Groups of duplicates, by a threshold (0.9 if left out) or by the share to remove; see `deduplicate`."""
        if threshold is not None and rate is not None:
            raise OptionError("give a threshold or a rate, not both")
        vectors = self.vectors(inputs)
        if rate is not None:
            return deduplicate_to_rate(vectors, rate)
        return deduplicate(vectors, THRESHOLD if threshold is None else threshold)

    def paraphrases(self, inputs: Sequence[Input], *, limit: int = 1000, min_score: float = 0.0) -> list[Pair]:
        """The most similar pairs among the inputs; see `mine_paraphrases`."""
        return mine_paraphrases(self.vectors(inputs), limit=limit, min_score=min_score)
