"""`JinaEmbeddings`, the one class that users meet."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from .calls.aencode import AsyncEncode
from .calls.cautions import Cautions
from .calls.encode import Encode
from .calls.options import EncodeOptions, Input
from .calls.prepare import Preparer
from .calls.query_document import QueryDocument
from .calls.request import Request
from .calls.run import Result, arun, run
from .calls.streaming import astream, check_stream, stream
from .checkpoint import DEFAULT_MODEL, Checkpoint
from .engine.base import Engine
from .engine.choice import choose_engine, load_engine, most_resized_later
from .engine.remote.engine import RemoteEngine
from .engine.remote.host import EngineHost
from .errors import EngineError
from .fill import Fill
from .inputs.patches import ImageConfig
from .inputs.processor import Processor
from .inputs.sources import ImageSource, SourcePolicy
from .logs import configure
from .opened import Opened
from .options import Options
from .types import ModelInfo, Task
from .vectors import similarity as scores
from .vectors.maps import SimilarityMap, make_map
from .vectors.pooling import resolve_pooling

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class JinaEmbeddings(Encode, AsyncEncode, QueryDocument):
    """Jina Embeddings v4: texts and images to vectors, for three tasks.

        with JinaEmbeddings("jinaai/jina-embeddings-v4") as model:
            vectors = model.encode_text(["one", "two"], task="retrieval", prompt_name="passage")

    Args:
        model: a folder, a hub id, or the name of a bundled model.
        engine: `auto` (vLLM where a CUDA GPU and vLLM are there, else torch), `vllm`, `torch`,
            `transformers`, or `fake` (deterministic vectors without a model, for tests); or an engine object; or
            what `hosted` of a model in another process gave.
        task: used by calls that name none; `retrieval` if left out. For a merged checkpoint, the task
            that it was merged for.
        revision, cache_dir, local_files_only: as in huggingface_hub.
        options: see `jina_embeddings.options.Options`; an unknown one is an error.

    Threads and asyncio tasks may share one model.

    Raises:
        CheckpointError: the weights can't be found, read or used for the task.
        EngineError: the engine can't start here.
        OptionError: an option that doesn't exist, or a value out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        engine: str | Path | Engine = "auto",
        task: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        **options: Any,
    ):
        configure()
        if isinstance(engine, Path):
            engine = RemoteEngine(engine)
        named = isinstance(engine, str) or not hasattr(engine, "run")
        name = choose_engine(engine) if named else engine.name  # type: ignore[arg-type, union-attr]
        self.opened = Opened.of(
            model,
            engine=name,
            task=task,
            options=options,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        checkpoint, prompt_name = self.opened.checkpoint, self.opened.prompt_name
        self.options: Options = self.opened.options
        self.info: ModelInfo = self.opened.info
        self.task: Task = self.opened.task
        # Everything that can be refused is, before an engine starts.
        processor = self._processor(checkpoint, resize_later=most_resized_later(name, self.options))
        pooling, normalize = resolve_pooling(self.options.pooling_type), self.options.normalize
        self._preparer = Preparer(processor, self.info, self.task, prompt_name, pooling=pooling, normalize=normalize)
        if isinstance(engine, str):
            engine = load_engine(name, checkpoint, self.options)
        self._engine: Engine = engine
        self._pid = os.getpid()
        self._cautions = Cautions(self.info, self._engine.max_length)

    @property
    def source_policy(self) -> SourcePolicy:
        """What the name of an image may reach, by the options."""
        return SourcePolicy(
            paths=self.options.image_paths,
            urls=self.options.image_urls,
            private_addresses=self.options.image_private_addresses,
        )

    def _processor(self, checkpoint: Checkpoint, *, resize_later: int) -> Processor:
        options = self.options
        processor = Processor.from_checkpoint(
            checkpoint,
            max_length=options.max_model_len,
            min_pixels=options.min_pixels,
            max_pixels=options.max_pixels,
            resize_later=resize_later,
        )
        return processor.reading(self.source_policy, as_stored=options.image_reading == "stored")

    @property
    def engine(self) -> str:
        """Name of the engine that runs: `vllm`, `torch`, `transformers` or `fake`."""
        return self._engine.name

    @property
    def alive(self) -> bool:
        """Whether calls can be answered: the engine was not closed, and has not died."""
        return self._engine.alive

    def embed(self, request: Request) -> Result:
        """What `encode_text` and its like do: the embeddings of a request, and what its inputs came to in tokens."""
        return self._cautions.told(self._run(request), request.max_length)

    async def aembed(self, request: Request) -> Result:
        """`embed` for asyncio; the event loop is not blocked."""
        return self._cautions.told(await self._arun(request), request.max_length)

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end where calls to this model cost least, as `asyncio.run` would.

        vLLM's engine has an event loop in a thread of its own, where many small calls are faster than from another one.
        Signals go to the main thread as ever, which waits here.
        """
        self._require_own_process()
        return self._engine.run_async(main)

    def hosted(self) -> AbstractAsyncContextManager[Path]:
        """Within this context, models of other processes can use the engine; yields their argument `engine`."""
        return EngineHost(self._engine).listening()

    def stream(
        self,
        inputs: Iterable[Input],
        *,
        chunk_size: int | None = None,
        on_cut: Callable[[int], None] | None = None,
        **options: Unpack[EncodeOptions],
    ) -> Iterator[Any]:
        """One result for each input of an iterable that may never end, in order.

        Inputs and options are those of `encode`. At most two chunks of `chunk_size` inputs are in memory, as many as
        suit the engine if it is left out: one is prepared while the other runs. With `on_error="skip"` a bad input's
        result is its `Skipped`, with its index in the chunk replaced by its index in the stream. `on_cut` is called
        with the index in the stream of each text that was cut, before that text's result is given.
        """
        on_error = options.pop("on_error", "raise")
        chunk_size = self._chunk_size(chunk_size, options)
        check_stream(inputs, chunk_size, on_error, options)
        options["on_error"] = "skip"
        return stream(
            inputs,
            lambda chunk: self._run(Request.mixed(chunk, options)),
            chunk_size,
            on_error,
            lambda first, result: self._cautions.told(result, options.get("max_length"), on_cut, first),
        )

    def astream(
        self,
        inputs: AsyncIterable[Input],
        *,
        chunk_size: int | None = None,
        on_cut: Callable[[int], None] | None = None,
        **options: Unpack[EncodeOptions],
    ) -> AsyncIterator[Any]:
        """`stream` over an async iterable; inputs that come slowly are not kept waiting for a full chunk."""
        on_error = options.pop("on_error", "raise")
        chunk_size = self._chunk_size(chunk_size, options)
        check_stream(inputs, chunk_size, on_error, options)
        options["on_error"] = "skip"
        return astream(
            inputs,
            lambda chunk: self._arun(Request.mixed(chunk, options)),
            chunk_size,
            on_error,
            lambda first, result: self._cautions.told(result, options.get("max_length"), on_cut, first),
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by the model's own tokenizer, without a prompt and without a limit."""
        return self._preparer.count_tokens(texts)

    def text_of(self, token_ids: Sequence[int]) -> str:
        """The text that ids of the model's own tokenizer stand for. Raises InputError for a number that is no id."""
        return self._preparer.text_of(token_ids)

    @property
    def image_config(self) -> ImageConfig:
        """The sizes that images are resized to, for programs that decode images themselves."""
        return self._preparer.image_config

    @property
    def hang_s(self) -> float:
        """Seconds after which an engine that has answered nothing, though one text waits, can be given up."""
        return self._engine.hang_s

    @property
    def calls_at_once(self) -> int:
        """How many concurrent calls keep the engine busy; 1 if calls run one after another anyway."""
        return self._engine.calls_at_once

    @property
    def pack_fill(self) -> Fill:
        """How full the engine's packs, or padded batches, have been."""
        return self._engine.pack_fill

    def similarity_map(self, query: str, image: ImageSource, *, task: str | None = None) -> SimilarityMap:
        """Where in an image each word of a query is found, by multi-vectors.

        Returns: `words`, and `maps`, float32 (words, rows, columns): the cosine of each patch with each word.

        Raises:
            EmptyInputError: a query without words.
            ImageError: an image that can't be read.
            MultivectorUnavailableError: the model has no multi-vectors.
        """
        query_vectors = self.encode_text(query, task, prompt_name="query", return_multivector=True)
        job = self._preparer.prepare(Request.images([image], {"task": task, "return_multivector": True}))
        (prepared,) = job.batch
        assert prepared.image is not None
        (image_vectors,) = job.finish(self._engine.run(job.batch))
        return make_map(query, query_vectors, image_vectors, prepared.image, self._preparer.count_query_tokens)

    similarity = staticmethod(scores.similarity)
    hamming = staticmethod(scores.hamming)
    maxsim = staticmethod(scores.maxsim)

    def close(self) -> None:
        """Stops the engine and frees its memory; later calls raise EngineClosedError."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def _chunk_size(self, given: int | None, options: EncodeOptions) -> int:
        return max(self._engine.chunk_size, options.get("batch_size") or 1) if given is None else given

    def _run(self, request: Request) -> Result:
        self._require_own_process()
        return run(request, self._preparer, self._engine)

    async def _arun(self, request: Request) -> Result:
        self._require_own_process()
        return await arun(request, self._preparer, self._engine)

    def _require_own_process(self) -> None:
        if os.getpid() != self._pid:
            raise EngineError(
                "a model can't be used in a forked process, which has none of its threads: make a JinaEmbeddings in "
                "each process, or start processes with multiprocessing's 'spawn'"
            )
