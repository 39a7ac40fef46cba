"""Updates an index to documents: embeds new passages, writes them in batches, and removes documents that have gone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from ...errors import JinaEmbeddingsError, unreadable
from ...pipeline.rows import Failure, LeftOut
from ...types import Both, Skipped
from ...vectors.similarity import normalize
from ...vectors.token_pooling import pool_tokens
from .passage import Document, Passage, State
from .rows import Placed
from .store import Store

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings

Item: TypeAlias = "Document | Failure | LeftOut"

WRITE_PASSAGES = 4096
WRITE_SECONDS = 10.0
"""Embedded passages are written after this many, or after this time: the most that a kill loses."""

WRITE_TOKENS = 500_000
"""Multi-vectors are also written after this many tokens, which are 256 MB in float32."""

_LOOK_UP = 512


@dataclass(slots=True)
class Summary:
    """Counts of an update.

    documents: documents read and cut, since they were new, changed, or incomplete in the index. unchanged: others.
    embedded: passages that the model embedded. reused: passages whose vectors existed.
    removed: documents that have gone. left_out: the files without anything to embed.
    cut: sources of the passages that were longer than the model reads, which have vectors of their beginnings.
    failures: documents and passages that could not be indexed; all others were.
    """

    documents: int = 0
    unchanged: int = 0
    embedded: int = 0
    reused: int = 0
    removed: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Update:
    """One update of a store. advance: called after each passage."""

    def __init__(self, store: Store, model: JinaEmbeddings, advance: Callable[[], None]):
        self.summary = Summary()
        self._store, self._model, self._advance = store, model, advance
        self._states = store.states()
        self._seen: set[str] = set()
        self._emptied: set[str] = set()
        self._new: dict[str, str] = {}
        self._placed: list[Placed] = []
        self._num_tokens = 0
        self._written_at = time.monotonic()

    def run(
        self,
        items: Iterable[Item],
        gone: Callable[[str], bool],
        missing: Callable[[str], bool] = lambda path: False,
        **options: Any,
    ) -> Summary:
        """See `Index.update`."""
        # Passages that the model has, and whose vectors are to come. The stream reads its inputs in the thread that
        # takes its results, so this needs no lock.
        running: deque[_Planned] = deque()
        cut: set[int] = set()
        embedded = self._embedded(self._inputs(items, running), cut.add, options)
        for index, (vector, multivector) in enumerate(embedded):
            planned = running.popleft()
            if isinstance(vector, Skipped):
                self.summary.failures.append(_failure(planned.passage, vector.error))
            else:
                self.summary.embedded += 1
                if index in cut:
                    self.summary.cut.append(planned.passage.source)
                self._place(planned, vector, multivector)
            self._advance()
        self._write()
        unseen = [path for path in self._states if path not in self._seen]
        left = {path for path in unseen if gone(path)}
        left |= self._moved([path for path in unseen if path not in left and missing(path)])
        self._store.remove([*left, *self._emptied])
        self.summary.removed = len(left)
        return self.summary

    def _moved(self, missing: list[str]) -> set[str]:
        """Finds documents that have moved: whose content is at a new path, or whose folder others have moved with."""
        moved, folders = set[str](), dict[str, str]()
        for path in missing:
            now = self._new.get(State.parse(self._states[path]).content)
            if now is not None:
                moved.add(path)
                folders.update([_without_common_end(path, now)])
        for path in missing:
            for folder, now in folders.items():
                if path.startswith(f"{folder}/") and now + path[len(folder) :] in self._seen:
                    moved.add(path)
        return moved

    def _embedded(
        self, inputs: Iterator[dict[str, Any]], on_cut: Callable[[int], None], options: dict[str, Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Vector and multi-vector of each input, None if not wanted; a `Skipped` in place of a vector that failed."""
        made_with = self._store.fingerprint
        common: Any = {
            "task": made_with.task,
            "prompt_name": "passage",
            "on_error": "skip",
            **options,
        }
        both = made_with.multivector is not None
        for result in self._model.stream(
            inputs, truncate_dim=made_with.dimension, return_both=both, on_cut=on_cut, **common
        ):
            if isinstance(result, Both):
                yield result.dense, pool_tokens(result.multivector, made_with.token_pooling)
            else:
                yield result, None

    def _inputs(self, items: Iterable[Item], running: deque[_Planned]) -> Iterator[dict[str, Any]]:
        for group in _grouped(self._plan(items), _LOOK_UP):
            known = self._store.vectors(planned.passage.content for planned in group)
            for planned in group:
                given = planned.passage.vector
                vectors = (
                    known.get(planned.passage.content)
                    if given is None
                    else (normalize(given), planned.passage.multivector)
                )
                if vectors is None:
                    running.append(planned)
                    yield planned.passage.input
                else:
                    self.summary.reused += 1
                    self._place(planned, *vectors)
                    self._advance()

    def _plan(self, items: Iterable[Item]) -> Iterator[_Planned]:
        for item in items:
            if isinstance(item, LeftOut):
                self.summary.left_out.append(item)
            elif isinstance(item, Failure):
                self._seen.add(item.id)
                self.summary.failures.append(item)
            else:
                yield from self._plan_document(item)

    def _plan_document(self, document: Document) -> Iterator[_Planned]:
        path, before = document.path, self._states.get(document.path)
        if path in self._seen:
            return
        self._seen.add(path)
        metadata = document.metadata
        if metadata is None:
            metadata = {} if before is None else State.parse(before).metadata
        state = State.of(document, metadata)
        if before is None:
            self._new[state.content] = path
        if before == str(state):
            self.summary.unchanged += 1
            return
        try:
            found = list(document.read())
        except JinaEmbeddingsError as error:
            self.summary.failures.append(Failure(path, error))
            return
        except OSError as error:
            self.summary.failures.append(Failure(path, unreadable(error)))
            return
        self.summary.documents += 1
        if path in self._states:
            self._emptied.add(path)
        self.summary.left_out += [passage for passage in found if isinstance(passage, LeftOut)]
        passages = [passage for passage in found if not isinstance(passage, LeftOut)]
        # A failure counts as a missing passage, so that the next update reads the document again.
        for position, passage in enumerate(passages):
            if isinstance(passage, Failure):
                self.summary.failures.append(passage)
            else:
                if metadata:
                    passage = replace(passage, metadata={**metadata, **passage.metadata})
                yield _Planned(passage, str(state), position, len(passages))

    def _place(self, planned: _Planned, vector: Any, multivector: Any) -> None:
        placed = Placed(planned.passage, planned.state, planned.position, planned.of, vector, multivector)
        self._placed.append(placed)
        self._num_tokens += 0 if multivector is None else len(multivector)
        full = len(self._placed) >= WRITE_PASSAGES or self._num_tokens >= WRITE_TOKENS
        if full or time.monotonic() - self._written_at >= WRITE_SECONDS:
            self._write()

    def _write(self) -> None:
        if self._placed:
            paths = {placed.path for placed in self._placed}
            self._store.write(self._placed, new=paths.isdisjoint(self._states))
            self._emptied -= paths
            self._placed, self._num_tokens = [], 0
        self._written_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class _Planned:
    """A passage before it has a vector; the fields are those of `Placed`."""

    passage: Passage
    state: str
    position: int
    of: int


def _failure(passage: Passage, error: Exception) -> Failure:
    own = passage.metadata.get("id")
    if passage.line and isinstance(own, str):
        return Failure(own, error, where=passage.source)
    return Failure(passage.source, error)


def _without_common_end(path: str, other: str) -> tuple[str, str]:
    """`("docs", "papers")` for `docs/a/b.md` and `papers/a/b.md`."""
    left, right = path.split("/"), other.split("/")
    while len(left) > 1 and len(right) > 1 and left[-1] == right[-1]:
        left.pop()
        right.pop()
    return "/".join(left), "/".join(right)


def _grouped(items: Iterable[_Planned], size: int) -> Iterator[list[_Planned]]:
    group: list[_Planned] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
