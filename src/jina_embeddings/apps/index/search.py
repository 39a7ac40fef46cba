"""Runs a search: a first stage finds candidates, and an optional second stage ranks them by multi-vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from ...errors import OptionError, suggest
from .filters import Filters, to_sql
from .fusion import join
from .passage import Hit
from .rerank import by_scores
from .store import Store

if TYPE_CHECKING:
    from ...types import FloatArray

Mode = Literal["dense", "words", "hybrid"]
FirstStage = Literal["dense", "multivector"]
MODES: tuple[str, ...] = get_args(Mode)
FIRST_STAGES: tuple[str, ...] = get_args(FirstStage)

CANDIDATES = 50
_JOINED = 100
"""The least number of hits of each ranking that hybrid search joins."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its vectors. text: None for an image. multivector: (tokens, dim), if the search needs it."""

    text: str | None
    vector: FloatArray
    multivector: FloatArray | None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The arguments of `Index.search`. Raises OptionError for values that are wrong or exclude each other.

    mode: None means `DEFAULT_MODE` for a question in words, and `dense` for an image.
    """

    limit: int = 10
    filters: Filters | None = None
    mode: Mode | None = None
    rerank: bool = False
    first_stage: FirstStage = "dense"
    candidates: int = CANDIDATES
    exact: bool = False
    min_score: float | None = None

    def __post_init__(self) -> None:
        if self.limit < 1 or self.candidates < 1:
            raise OptionError(f"limit={self.limit} and candidates={self.candidates} have to be above 0")
        if self.mode is not None and self.mode not in MODES:
            raise OptionError(f"unknown mode {self.mode!r}{suggest(self.mode, MODES)}")
        if self.first_stage not in FIRST_STAGES:
            raise OptionError(f"unknown first_stage {self.first_stage!r}{suggest(self.first_stage, FIRST_STAGES)}")
        if self.first_stage == "multivector" and self.mode not in (None, "dense"):
            raise OptionError(f"first_stage='multivector' searches no words: leave mode={self.mode!r} out")
        to_sql(self.filters or {})

    @property
    def needs_multivector(self) -> bool:
        return self.rerank or self.first_stage == "multivector"

    def mode_for(self, text: str | None, has_words: bool) -> Mode:
        """Raises OptionError if an image is to be searched by words."""
        if self.mode is None:
            return DEFAULT_MODE if text is not None and has_words else "dense"
        if text is None and self.mode != "dense":
            plain = "a picture has no words"
            raise OptionError(f"{plain}: leave mode={self.mode!r} out", argument="mode", plain=f"{plain}: leave it out")
        return self.mode


DEFAULT_MODE: Mode = "hybrid"
"""Better than dense on five of the six sets of benchmarks/results/joining.json, and 0.008 worse on the other."""

Remake = Callable[[Sequence[Hit]], Sequence["FloatArray | None"]]


def find(store: Store, question: Question, options: SearchOptions, remake: Remake) -> list[Hit]:
    """Returns the best passages, best first.

    remake: returns multi-vectors of hits, None for each that can't be embedded any more. Called only if the index
        stores none.
    """
    where = to_sql(options.filters or {}, store.root)
    limit = max(options.limit, options.candidates) if options.needs_multivector else options.limit
    hits = _first_stage(store, question, options, limit, where)
    if options.needs_multivector and question.multivector is not None:
        if store.fingerprint.multivector:
            scores = store.maxsim(question.multivector, hits)
            hits = by_scores(hits, [scores.get(hit.id) for hit in hits])
        else:
            hits = by_scores(hits, _scored(question.multivector, remake(hits)))
    hits = hits[: options.limit]
    return hits if options.min_score is None else [hit for hit in hits if hit.score >= options.min_score]


def _first_stage(store: Store, question: Question, options: SearchOptions, limit: int, where: str | None) -> list[Hit]:
    if options.first_stage == "multivector" and question.multivector is not None:
        return store.search_multivectors(question.multivector, question.vector, limit, where)
    mode = options.mode_for(question.text, store.has_words)
    if mode == "dense" or question.text is None:
        return store.search(question.vector, limit, where, exact=options.exact)
    if mode == "words":
        return store.search_words(question.text, question.vector, limit, where)
    depth = max(limit, _JOINED)
    dense = store.search(question.vector, depth, where, exact=options.exact)
    words = store.search_words(question.text, question.vector, depth, where)
    hits = {hit.id: hit for hit in (*words, *dense)}
    joined = join([(hit.id, hit.score) for hit in dense], [(hit.id, hit.score) for hit in words])
    return [replace(hits[name], score=score) for name, score in joined.items()][:limit]


def _scored(query: FloatArray, multivectors: Sequence[FloatArray | None]) -> list[float | None]:
    from ...vectors.similarity import maxsim

    return [None if tokens is None else float(maxsim(query, tokens)) for tokens in multivectors]
