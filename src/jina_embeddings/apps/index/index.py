"""`Index`, the class that users meet: a store, and the model that made its vectors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from ...calls.progress import progress_bar
from ...calls.request import Request
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
    from ...types import FloatArray, MultivectorFormat, Usage


class Index:
    """Passages and their vectors at an address, and the model that made the vectors.

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
        """Opens the index at an address: a folder, or an address that LanceDB connects to, such as `s3://bucket/path`.

        Settings that are given have to be those of an existing index.

        Args:
            create: create an empty index if there is none.
            task, dimension: of its vectors. If left out, a new index has those of the model.
            kind: what the index is for. If left out, a new index has `files`.
            multivector: the number format of stored multi-vectors: `float16`, `int8` or `binary`. If left out, a new
                index stores none.
            token_pooling: the number of tokens that are merged into one vector of a multi-vector, on average.

        Raises:
            IndexNotFoundError: there is no index, and `create` is False.
            IndexMismatchError: the index has another model, task, dimension or kind, or stores other multi-vectors.
            MultivectorUnavailableError: `multivector` is given, and the model has no multi-vectors.
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
                # Another process may have created it meanwhile.
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
        """The number of passages."""
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
        """Updates the index to documents. A call that is killed can be repeated: it continues where it was.

        Args:
            items: documents, and a `Failure` or `LeftOut` for each file that gave none.
            gone: called with each path in the index that is not among the items; returns whether to remove that
                document. If left out, nothing is removed.
            missing: called with each of the other paths; returns whether nothing is there any more. Such a document is
                removed if it has moved: if a new document has its content, or stands where it would in a moved folder.
            advance: called after each passage.
            ann_numbers: above this many numbers (passages times dimension) an approximate index is built.
            show_progress: show the number of passages on stderr, or in the notebook.
            options: `batch_size`, `max_length`, `max_pixels` of `JinaEmbeddings.stream`.

        Raises:
            IndexBusyError: another process is writing to it.
            EngineError: the engine failed. The index has what was embedded until shortly before.
        """
        with written_by_us(self.store.address):
            self.store.index_words()
            self.store.remove_old_versions()
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
        """Embeds a question or an image, as `search` does; returns (dimension,)."""
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
        """Returns the best passages for a query, best first.

        Args:
            query: a question as a str, or an image as a path object, bytes, `PIL.Image` or array.
            filters: `{"kind": "page", "path": "*/manual/*", "language": ["en", "de"]}`; see `filters.Filters`.
            mode: `dense` compares vectors, `words` looks words up (BM25), `hybrid` joins both by their scores.
            rerank: rank the best `candidates` by MaxSim of multi-vectors: the stored ones, or if the index stores none,
                ones that the model makes from the passages now.
            first_stage: `multivector` finds the candidates by the stored multi-vectors too.
            exact: compare every vector, even if there is an approximate index.
            min_score: leave out hits with a lower score; `Hit` says what a score is.

        Raises:
            OptionError: a limit below 1, a wrong filter, or several queries (see `search_many`).
            MultivectorUnavailableError: `rerank`, and the model has no multi-vectors.
            IndexMismatchError: the index has no word index, or no multi-vectors for a first stage.
        """
        _check_single(query)
        options = SearchOptions(limit, filters, mode, rerank, first_stage, candidates, exact, min_score)
        return self._find(query, self.embed_query(query), self._tokens_of(query, options), options)

    def search_many(
        self, queries: Sequence[str | ImageSource], options: SearchOptions | None = None
    ) -> list[list[Hit]]:
        """Embeds several questions together, and returns the hits of each, in the order of the questions."""
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

    async def asearch(
        self,
        query: str | ImageSource,
        options: SearchOptions | None = None,
        *,
        spent: Callable[[Usage], None] | None = None,
    ) -> list[Hit]:
        """`search` for asyncio; the event loop is not blocked.

        spent: called with the tokens of each call of the model, from any thread.
        """
        _check_single(query)
        options = options or SearchOptions()

        async def embedded(**form: Any) -> Any:
            asked = {"task": self.store.fingerprint.task, "prompt_name": "query", **form}
            result = await self.model.aembed(Request.mixed(query, asked))
            if spent is not None:
                spent(result.usage)
            return result.embeddings

        vector = await embedded(truncate_dim=self.store.fingerprint.dimension)
        tokens = await embedded(return_multivector=True) if options.needs_multivector else None
        return await asyncio.to_thread(self._find, query, vector, tokens, options, spent)

    def describe(self) -> dict[str, Any]:
        """Describes what the index has and how it is searched, in plain types.

        Returns: `passages`, `documents`, `model`, `task`, `dimension`, `words`, `multivector`, `size_bytes` and the
            like; `dense["search"]` is `exact` or `approximate`.
        """
        return self.store.describe()

    def remove(self, path: str) -> int:
        """Removes documents; returns the number of their passages. `*` in the path matches anything.

        Raises IndexBusyError if another process is writing.
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
        """Returns a function for RAG frameworks: it takes a question and returns passages in plain types.

        Each passage is a dictionary with `text`, `source`, `title`, `score`, `metadata` and the like.
        """

        def retrieve(question: str | ImageSource) -> list[dict[str, Any]]:
            hits = self.search(question, limit=limit, filters=filters, rerank=rerank)
            return [hit.record() for hit in hits]

        return retrieve

    def search_vector(
        self, vector: FloatArray, *, limit: int = 10, filters: Filters | None = None, exact: bool = False
    ) -> list[Hit]:
        """Returns the passages nearest to a vector (dimension,)."""
        return self.store.search(normalize(vector), limit, to_sql(filters or {}, self.store.root), exact=exact)

    def _encode_query(self, query: str | ImageSource | Sequence[str | ImageSource], **options: Any) -> Any:
        return self.model.encode(query, task=self.store.fingerprint.task, prompt_name="query", **options)

    def _tokens_of(self, query: str | ImageSource, options: SearchOptions) -> FloatArray | None:
        return self._encode_query(query, return_multivector=True) if options.needs_multivector else None

    def _find(
        self,
        query: str | ImageSource,
        vector: FloatArray,
        tokens: FloatArray | None,
        options: SearchOptions,
        spent: Callable[[Usage], None] | None = None,
    ) -> list[Hit]:
        text = query if isinstance(query, str) else None
        remade = partial(self._remade, spent=spent)
        return find(self.store, Question(text, normalize(vector), tokens), options, remade)

    def _remade(self, hits: Sequence[Hit], spent: Callable[[Usage], None] | None) -> list[FloatArray | None]:
        """Embeds the passages of hits as multi-vectors; None for each that can't be embedded any more."""
        made: list[FloatArray | None] = [None] * len(hits)
        if not hits:
            return made
        asked = {
            "task": self.store.fingerprint.task,
            "prompt_name": "passage",
            "return_multivector": True,
            "on_error": "skip",
        }
        result = self.model.embed(Request.mixed([hit.passage.input for hit in hits], asked))
        if spent is not None:
            spent(result.usage)
        for place, tokens in zip(result.embeddings.kept, result.embeddings.embeddings, strict=True):
            made[place] = tokens
        return made


def _never(path: str) -> bool:
    return False


def _check_single(query: object) -> None:
    if isinstance(query, list | tuple | set | frozenset):
        raise OptionError("search takes one question: give several to search_many, which has a list of hits for each")
