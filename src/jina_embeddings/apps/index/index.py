"""`Index`: a store and the model whose vectors are in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from ...calls.progress import progress_bar
from ...errors import OptionError
from ...inputs.prompts import resolve_task
from ...vectors.similarity import normalize
from .approximate import ANN_NUMBERS
from .filters import Filters, path_is, to_sql
from .fingerprint import Fingerprint
from .lock import written_by_us
from .passage import Hit
from .search import CANDIDATES, FirstStage, Mode, Question, SearchOptions, find
from .store import Store
from .update import Item, Summary, Update

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings
    from ...inputs.sources import ImageSource
    from ...types import FloatArray, MultivectorFormat


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
        multivector: MultivectorFormat | None = None,
        token_pooling: int | None = None,
    ) -> Self:
        """The index at an address: a folder, or what LanceDB connects to, such as `s3://bucket/path`.

        Args:
            create: make an empty one where there is none.
            task, dimension: of its vectors. For a new index the model's own if left out; for one that is
                there they are compared with what it has.
            kind: what it is for, compared in the same way; `files` for a new index if left out.
            multivector: store multi-vectors too, in this number format: `float16`, `int8` or `binary`. Compared in the
                same way; a new index has none if left out.
            token_pooling: for a new index, merge the tokens of a multi-vector so that one is left of so many.

        Raises:
            IndexNotFoundError: there is none, and `create` is False.
            IndexMismatchError: it was made with another model, task, dimension or kind, or keeps other multi-vectors.
            MultivectorUnavailableError: `multivector` with a model that has none.
        """
        name = os.fspath(address)
        if task is not None:
            task, _ = resolve_task(task)
        if create and not Store.exists(name):
            made_with = Fingerprint.of(
                model,
                task or model.task,
                dimension,
                kind or "files",
                multivector=multivector,
                token_pooling=token_pooling or 1,
            )
            with written_by_us(name):
                # Somebody else may have been faster.
                if not Store.exists(name):
                    return cls(Store.create(name, made_with), model)
        store = Store.open(name)
        store.fingerprint.check(
            model,
            name,
            task=task,
            dimension=dimension,
            kind=kind,
            multivector=multivector,
            token_pooling=token_pooling,
        )
        return cls(store, model)

    def __len__(self) -> int:
        """Passages in it."""
        return len(self.store)

    def update(
        self,
        items: Iterable[Item],
        *,
        gone: Callable[[str], bool] | None = None,
        missing: Callable[[str], bool] | None = None,
        advance: Callable[[], None] | None = None,
        ann_numbers: int = ANN_NUMBERS,
        show_progress: bool = False,
        **options: Any,
    ) -> Summary:
        """Brings the index in step with documents. It may be killed at any moment and done again.

        Args:
            items: documents, and what could not become one.
            gone: asked for each path of the index that is not among the items, whether to remove it;
                left out, nothing is removed.
            missing: asked for each other path, whether there is nothing at it; such a document is removed if it has
                moved: one of its content is new among the items, or one at its place in a folder that has moved.
            advance: called after each passage.
            ann_numbers: with more numbers than this (passages times dimension) there will be an approximate index.
            show_progress: show the number of passages on stderr, or in the notebook.
            options: `batch_size`, `max_length`, `max_pixels` of `JinaEmbeddings.stream`.

        Raises:
            IndexBusyError: another process is writing to it.
            EngineError: the engine failed; what was embedded until shortly before is in the index.
        """
        with written_by_us(self.store.address):
            self.store.index_words()
            with progress_bar(show_progress, None, " passages") as count:

                def done() -> None:
                    count(1)
                    if advance is not None:
                        advance()

                update = Update(self.store, self.model, done)
                summary = update.run(items, gone or _never, missing or _never, **options)
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
        mode: Mode | None = None,
        rerank: bool = False,
        first_stage: FirstStage = "dense",
        candidates: int = CANDIDATES,
        exact: bool = False,
        min_score: float | None = None,
    ) -> list[Hit]:
        """The best passages for a query, best first.

        Args:
            query: a str is a question in words; a path object, bytes, `PIL.Image` or array is an image.
            filters: `{"kind": "page", "path": "*/manual/*", "language": ["en", "de"]}`; see `filters.Filters`.
            mode: `dense` compares vectors, `words` looks words up (BM25), `hybrid` joins both by their scores.
            rerank: score the best `candidates` by MaxSim of multi-vectors: of those that the index keeps, else of ones
                made now from texts and images.
            first_stage: `multivector` finds the candidates by the stored multi-vectors too.
            exact: compare with every vector, even where there is an approximate index.
            min_score: leave out hits with a lower score; what a score is, says `Hit`.

        Raises:
            OptionError: a limit below 1, a wrong filter, several queries at once (see `search_many`).
            MultivectorUnavailableError: `rerank` with a model that has no multi-vectors.
            IndexMismatchError: the index has no words, or no multi-vectors in float16 for a first stage.
        """
        _check_single(query)
        options = SearchOptions(limit, filters, mode, rerank, first_stage, candidates, exact, min_score)
        return self._find(query, self.embed_query(query), self._tokens_of(query, options), options)

    def search_many(
        self, queries: Sequence[str | ImageSource], options: SearchOptions | None = None
    ) -> list[list[Hit]]:
        """`search` for several questions, which are embedded together: one list of hits each, in their order."""
        options = options or SearchOptions()
        if isinstance(queries, str | bytes):
            raise OptionError("search_many takes a list of questions")
        if not queries:
            return []
        queries = list(queries)
        vectors = self._encode_query(queries, truncate_dim=self.store.fingerprint.dimension)
        tokens: Any = [None] * len(queries)
        if options.needs_multivector:
            tokens = self._encode_query(queries, return_multivector=True)
        return [self._find(*one, options) for one in zip(queries, vectors, tokens, strict=True)]

    async def asearch(self, query: str | ImageSource, options: SearchOptions | None = None) -> list[Hit]:
        """`search` for programs with an event loop, which goes on meanwhile."""
        _check_single(query)
        options = options or SearchOptions()
        encode = partial(self.model.aencode, query, task=self.store.fingerprint.task, prompt_name="query")
        vector = await encode(truncate_dim=self.store.fingerprint.dimension)
        tokens = await encode(return_multivector=True) if options.needs_multivector else None
        return await asyncio.to_thread(self._find, query, vector, tokens, options)

    def describe(self) -> dict[str, Any]:
        """What is in the index and how it is searched, in plain types.

        Returns: `passages`, `documents`, `model`, `task`, `dimension`, `words`, `multivector`, `size_bytes` and the
            like; `dense["search"]` is `exact` or `approximate`.
        """
        return self.store.describe()

    def remove(self, path: str) -> int:
        """Takes documents out; returns how many passages that were. `*` in the path stands for anything.

        Raises IndexBusyError while another process is writing.
        """
        with written_by_us(self.store.address):
            return self.store.remove_where(path_is(path, self.store.root))

    def export(
        self,
        into: str | os.PathLike[str],
        *,
        layout: str = "parquet",
        multivector: bool = True,
        shard_rows: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> int:
        """Writes passages and vectors as the folder of a bulk run; returns how many.

        `pipeline.status` and `read_run` read it, and `index_files` makes an index of it again. Called again after a
        kill, it goes on.

        Args:
            into: a folder of its own, or an address such as `s3://bucket/path`.
            layout: `parquet`, `npy`, `safetensors` or `lance`; npy and safetensors hold no multi-vectors.
            multivector: False leaves the multi-vectors out.
            shard_rows: 10,000 if left out; with multi-vectors as many as have about 256 MiB of them.
            advance: called with the number of passages of each shard.

        Raises:
            IndexBusyError: another process is writing to the index.
            RunMismatchError: the folder holds something else, or this index as it was before.
            EmptyInputError: nothing is in the index.
        """
        from .export import export

        return export(self.store, into, layout=layout, multivector=multivector, shard_rows=shard_rows, advance=advance)

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
        return self.store.search(normalize(vector), limit, to_sql(filters or {}, self.store.root), exact=exact)

    def _encode_query(self, query: str | ImageSource | Sequence[str | ImageSource], **options: Any) -> Any:
        return self.model.encode(query, task=self.store.fingerprint.task, prompt_name="query", **options)

    def _tokens_of(self, query: str | ImageSource, options: SearchOptions) -> FloatArray | None:
        return self._encode_query(query, return_multivector=True) if options.needs_multivector else None

    def _find(
        self, query: str | ImageSource, vector: FloatArray, tokens: FloatArray | None, options: SearchOptions
    ) -> list[Hit]:
        text = query if isinstance(query, str) else None
        return find(self.store, Question(text, normalize(vector), tokens), options, self._remade)

    def _remade(self, hits: Sequence[Hit]) -> list[FloatArray | None]:
        """Multi-vectors of hits, None for those that can't be embedded any more."""
        made: list[FloatArray | None] = [None] * len(hits)
        if not hits:
            return made
        partial_result = self.model.encode(
            [hit.passage.input for hit in hits],
            task=self.store.fingerprint.task,
            prompt_name="passage",
            return_multivector=True,
            on_error="skip",
        )
        for place, tokens in zip(partial_result.kept, partial_result.embeddings, strict=True):
            made[place] = tokens
        return made


def _never(path: str) -> bool:
    return False


def _check_single(query: object) -> None:
    if isinstance(query, list | tuple | set | frozenset):
        raise OptionError("search takes one question: give several to search_many, which has a list of hits for each")
