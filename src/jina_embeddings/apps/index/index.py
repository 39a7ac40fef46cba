"""`Index`: a store and the model whose vectors are in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from ...errors import OptionError
from ...inputs.prompts import resolve_task
from ...vectors.similarity import normalize
from .filters import Filters, to_sql
from .fingerprint import Fingerprint
from .lock import written_by_us
from .passage import Hit, Passage
from .rerank import by_multivectors
from .store import ANN_NUMBERS, Store
from .update import Item, Summary, Update

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings
    from ...inputs.sources import ImageSource
    from ...types import FloatArray, Partial

CANDIDATES = 50


class Index:
    """Passages and their vectors at an address, with the model that made them.

        index = Index.open("notes.index", model, create=True)
        index.update(documents)
        hits = index.search("how is it done?")

    Searching is safe from several threads.
    """

    def __init__(self, store: Store, model: JinaEmbeddings):
        self.store, self.model = store, model

    @classmethod
    def open(
        cls,
        address: str | os.PathLike[str],
        model: JinaEmbeddings,
        *,
        create: bool = False,
        task: str | None = None,
        dimension: int | None = None,
        kind: str | None = None,
    ) -> Self:
        """The index at an address: a folder, or what LanceDB connects to, such as `s3://bucket/path`.

        Args:
            create: make an empty one where there is none.
            task, dimension: of its vectors. For a new index the model's own if left out; for one that is
                there they are compared with what it has.
            kind: what it is for, compared in the same way; `files` for a new index if left out.

        Raises:
            IndexNotFoundError: there is none, and `create` is False.
            IndexMismatchError: it was made with another model, task, dimension or kind.
        """
        name = os.fspath(address)
        if task is not None:
            task, _ = resolve_task(task)
        if create and not Store.exists(name):
            made_with = Fingerprint.of(model, task or model.task, dimension, kind or "files")
            with written_by_us(name):
                # Somebody else may have been faster.
                if not Store.exists(name):
                    return cls(Store.create(name, made_with), model)
        store = Store.open(name)
        store.fingerprint.check(model, name, task=task, dimension=dimension, kind=kind)
        return cls(store, model)

    def __len__(self) -> int:
        """Passages in it."""
        return len(self.store)

    def update(
        self,
        items: Iterable[Item],
        *,
        gone: Callable[[str], bool] | None = None,
        advance: Callable[[], None] | None = None,
        ann_numbers: int = ANN_NUMBERS,
        **options: Any,
    ) -> Summary:
        """Brings the index in step with documents. It may be killed at any moment and done again.

        Args:
            items: documents, and what could not become one.
            gone: asked for each path of the index that is not among the items, whether to remove it;
                left out, nothing is removed.
            advance: called after each passage.
            ann_numbers: with more numbers than this (passages times dimension) there will be an approximate index.
            options: `batch_size`, `max_length`, `max_pixels` of `JinaEmbeddings.stream`.

        Raises:
            IndexBusyError: another process is writing to it.
            EngineError: the engine failed; what was embedded until shortly before is in the index.
        """
        with written_by_us(self.store.address):
            update = Update(self.store, self.model, advance or (lambda: None))
            summary = update.run(items, gone or (lambda path: False), **options)
            self.store.tidy(ann_numbers=ann_numbers)
        return summary

    def embed_query(self, query: str | ImageSource) -> FloatArray:
        """The vector (dimension,) of a question, or of an image: see `search`."""
        vector: FloatArray = self._encode_query(query, truncate_dim=self.store.fingerprint.dimension)
        return vector

    def search(
        self,
        query: str | ImageSource,
        *,
        limit: int = 10,
        filters: Filters | None = None,
        rerank: bool = False,
        candidates: int = CANDIDATES,
        exact: bool = False,
    ) -> list[Hit]:
        """The best passages for a query, best first.

        Args:
            query: a str is a question in words; a path object, bytes, `PIL.Image` or array is an image.
            filters: `{"kind": "page", "path": "*/manual/*", "language": ["en", "de"]}`; see `filters.Filters`.
            rerank: score the best `candidates` by MaxSim of multi-vectors, made now from their texts and images.
            exact: compare with every vector, even where there is an approximate index.

        Raises:
            OptionError: a limit below 1, a wrong filter.
            MultivectorUnavailableError: `rerank` with a model that has no multi-vectors.
        """
        if limit < 1 or candidates < 1:
            raise OptionError(f"limit={limit} and candidates={candidates} have to be above 0")
        vector = self.embed_query(query)
        if not rerank:
            return self.search_vector(vector, limit=limit, filters=filters, exact=exact)
        found = self.search_vector(vector, limit=max(limit, candidates), filters=filters, exact=exact)
        return by_multivectors(self._encode_query(query, return_multivector=True), found, self._multivectors)[:limit]

    def retriever(
        self, *, limit: int = 5, filters: Filters | None = None, rerank: bool = False
    ) -> Callable[[str | ImageSource], list[dict[str, Any]]]:
        """The plain function that RAG frameworks want: from a question to the passages for it, in plain types.

        Returns: a function that gives dictionaries of `text`, `source`, `title`, `score` and `metadata`.
        """

        def retrieve(question: str | ImageSource) -> list[dict[str, Any]]:
            hits = self.search(question, limit=limit, filters=filters, rerank=rerank)
            return [hit.record() for hit in hits]

        return retrieve

    def search_vector(
        self, vector: FloatArray, *, limit: int = 10, filters: Filters | None = None, exact: bool = False
    ) -> list[Hit]:
        """The passages nearest to a vector (dimension,)."""
        found = self.store.search(normalize(vector), limit, to_sql(filters or {}), exact=exact)
        return [Hit(passage, cosine, cosine) for passage, cosine in found]

    def _encode_query(self, query: str | ImageSource, **options: Any) -> Any:
        return self.model.encode(query, task=self.store.fingerprint.task, prompt_name="query", **options)

    def _multivectors(self, passages: list[Passage]) -> Partial:
        partial: Partial = self.model.encode(
            [passage.input for passage in passages],
            task=self.store.fingerprint.task,
            prompt_name="passage",
            return_multivector=True,
            on_error="skip",
        )
        return partial
