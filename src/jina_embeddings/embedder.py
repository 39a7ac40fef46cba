"""`JinaEmbeddings`, the one class that users meet."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from .calls.job import Job, OnError, check_on_error
from .calls.prepare import Calls, EncodeOptions, ImageOptions, Input, TextOptions
from .calls.run import part_size, run_in_parts
from .calls.streaming import astream_in_order, stream_in_order
from .checkpoint import DEFAULT_MODEL, Checkpoint, open_checkpoint
from .engine.base import Engine
from .engine.choice import choose_engine, load_engine
from .errors import EngineDeadError, InputError, OptionError, TaskUnavailableError
from .inputs.processor import Processor
from .inputs.prompts import PREFIXES, resolve_task
from .inputs.sources import ImageSource, SourcePolicy
from .logs import configure
from .options import Options, make_options
from .types import EmbeddingType, ModelInfo, Partial, Skipped, Task
from .vectors import similarity as scores
from .vectors.maps import SimilarityMap, make_map
from .vectors.pooling import resolve_pooling

if TYPE_CHECKING:
    from .types import FloatArray


class JinaEmbeddings:
    """Jina Embeddings v4: texts and images to vectors, for three tasks.

        with JinaEmbeddings("jinaai/jina-embeddings-v4") as model:
            vectors = model.encode_text(["one", "two"], task="retrieval", prompt_name="passage")

    Args:
        model: a folder, a hub id, or the name of a bundled model.
        engine: `auto` (vLLM where a CUDA GPU and vLLM are there, else torch), `vllm`, `torch`,
            `transformers`, or `fake` (deterministic vectors without a model, for tests).
        task: used by calls that name none; `retrieval` if left out. For a merged checkpoint, the task
            that it was merged for.
        revision, cache_dir, local_files_only: as in huggingface_hub.
        options: see `jina_embeddings.options.Options`; an unknown one is an error.

    Thread-safe: threads and asyncio tasks may share one model.

    Raises:
        CheckpointError: the weights can't be found, read or used for the task.
        EngineError: the engine can't start here.
        OptionError: an option that doesn't exist, or a value out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        engine: str = "auto",
        task: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        **options: Any,
    ):
        configure()
        name = choose_engine(engine)
        self.options: Options = make_options(options, name)
        pooling = resolve_pooling(self.options.pooling_type)
        default, prompt_name = resolve_task(task) if task is not None else (None, None)
        if self.options.merge_adapter is not None:
            self.options = replace(self.options, merge_adapter=resolve_task(self.options.merge_adapter)[0])
        checkpoint: Checkpoint | None = None
        if name != "fake":
            checkpoint = open_checkpoint(
                model, task=default, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
            )
        self.info: ModelInfo = self._describe(checkpoint)
        tasks = self.info.tasks
        self.task: Task = default or ("retrieval" if "retrieval" in tasks else tasks[0])
        if self.task not in tasks:
            raise TaskUnavailableError(
                f"task={self.task!r} is left out by merge_adapter={tasks[0]!r}: name one of them only"
            )
        # Everything that can be refused is, before an engine starts.
        resize_later = name == "vllm" and self.options.image_resize == "device"
        processor = self._processor(checkpoint, resize_later=resize_later).reading(
            SourcePolicy(
                paths=self.options.image_paths,
                urls=self.options.image_urls,
                private_addresses=self.options.image_private_addresses,
            ),
            as_stored=self.options.image_reading == "stored",
        )
        self._calls = Calls(
            processor, self.info, self.task, prompt_name, pooling=pooling, normalize=self.options.normalize
        )
        self._engine: Engine = load_engine(name, checkpoint, self.options, processor.max_length)

    def _describe(self, checkpoint: Checkpoint | None) -> ModelInfo:
        """What is loaded: all tasks of the checkpoint, or the one that is merged."""
        from .engine.fake import INFO

        info = INFO if checkpoint is None else checkpoint.info
        merged = self.options.merge_adapter
        if merged is None:
            return info
        if merged not in info.tasks:
            raise TaskUnavailableError(f"{info.name} has adapters for {', '.join(info.tasks)}, not {merged!r}")
        return replace(info, tasks=(merged,))

    def _processor(self, checkpoint: Checkpoint | None, *, resize_later: bool) -> Processor:
        options = self.options
        if checkpoint is None:
            from .engine.fake import fake_processor

            return fake_processor(options.max_model_len, options.min_pixels, options.max_pixels)
        positions = checkpoint.config.max_positions
        if options.max_model_len is not None and options.max_model_len > positions:
            raise OptionError(f"max_model_len={options.max_model_len} is above the model's {positions} positions")
        return Processor.from_checkpoint(
            checkpoint,
            max_length=options.max_model_len or checkpoint.config.max_length,
            min_pixels=options.min_pixels,
            max_pixels=options.max_pixels,
            resize_later=resize_later,
        )

    @property
    def engine(self) -> str:
        """Name of the engine that runs: `vllm`, `torch`, `transformers` or `fake`."""
        return self._engine.name

    def encode_text(
        self,
        texts: str | Sequence[str],
        task: str | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
        return_multivector: bool = False,
        return_numpy: bool = True,
        truncate_dim: int | None = None,
        prompt_name: str | None = None,
        *,
        late_chunking: bool = False,
        truncate: bool = True,
        embedding_type: EmbeddingType = "float",
        on_error: OnError = "raise",
    ) -> Any:
        """Vectors of texts.

        Args:
            texts: one text or several.
            task: `retrieval`, `text-matching`, `code`; `retrieval.query` and the like name the prompt too.
            max_length: in tokens, prompt included; longer texts are cut there.
            batch_size: most inputs in one forward (vLLM batches by itself).
            return_multivector: one vector a token instead of one a text.
            return_numpy: False gives a list of torch tensors.
            truncate_dim: one of `info.matryoshka_dims`.
            prompt_name: `query` (default), `passage`, or `code`.
            late_chunking: the texts are consecutive chunks of one document, and each chunk's vector is
                pooled after the model has read all those before it.
            truncate: False makes a text over `max_length` an error.
            embedding_type: `float`, `int8`, `binary`, `ubinary` or `base64`; see `quantization`.
            on_error: `skip` passes over bad inputs and returns a `Partial`.

        Returns:
            float32 (n, dim); (dim,) for a single str. Multi-vector: a list of (tokens, multivector_dim),
            or that array alone for a single str. With `on_error="skip"`: `Partial(embeddings, kept, skipped)`,
            whose embeddings always have the form for several texts.
        """
        make = partial(
            Calls.text,
            task=task,
            prompt_name=prompt_name,
            max_length=max_length,
            truncate=truncate,
            late_chunking=late_chunking,
            return_multivector=return_multivector,
            return_numpy=return_numpy,
            truncate_dim=truncate_dim,
            embedding_type=embedding_type,
            on_error=on_error,
        )
        return self._run(make, texts, batch_size, whole=late_chunking)

    def encode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = None,
        batch_size: int | None = None,
        return_multivector: bool = False,
        return_numpy: bool = True,
        truncate_dim: int | None = None,
        max_pixels: int | None = None,
        *,
        embedding_type: EmbeddingType = "float",
        on_error: OnError = "raise",
    ) -> Any:
        """Vectors of images.

        Args:
            images: one or several of: path, http(s) or data URL, base64, bytes, `PIL.Image`, numpy array
                (height, width, 3), `file.pdf#page=2`.
            max_pixels: an image is made smaller until it has at most this many.

        The other arguments and the result are those of `encode_text`.
        """
        make = partial(
            Calls.image,
            task=task,
            max_pixels=max_pixels,
            return_multivector=return_multivector,
            return_numpy=return_numpy,
            truncate_dim=truncate_dim,
            embedding_type=embedding_type,
            on_error=on_error,
        )
        return self._run(make, images, batch_size)

    def encode(self, inputs: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """Vectors of texts and images in one list, in order.

        A str is a text; a path object, bytes, `PIL.Image` or array is an image; `{"text": ...}` and
        `{"image": ...}` say it outright, which is how an image is given by URL. Arguments and result as
        in `encode_text` and `encode_image`.
        """
        batch_size = options.pop("batch_size", None)
        return self._run(partial(Calls.mixed, **options), inputs, batch_size)

    async def aencode_text(self, texts: str | Sequence[str], **options: Unpack[TextOptions]) -> Any:
        """`encode_text` for asyncio; the event loop is not blocked."""
        batch_size = options.pop("batch_size", None)
        return await self._arun(partial(self._calls.text, texts, **options), batch_size)

    async def aencode_image(self, images: ImageSource | Sequence[ImageSource], **options: Unpack[ImageOptions]) -> Any:
        """`encode_image` for asyncio; the event loop is not blocked."""
        batch_size = options.pop("batch_size", None)
        return await self._arun(partial(self._calls.image, images, **options), batch_size)

    async def aencode(self, inputs: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """`encode` for asyncio; the event loop is not blocked."""
        batch_size = options.pop("batch_size", None)
        return await self._arun(partial(self._calls.mixed, inputs, **options), batch_size)

    def stream(
        self, inputs: Iterable[Input], *, chunk_size: int = 256, **options: Unpack[EncodeOptions]
    ) -> Iterator[Any]:
        """One result for each input of an iterable that may never end, in order.

        Inputs and options are those of `encode`. At most two chunks of `chunk_size` inputs are in memory:
        one is prepared while the other runs. With `on_error="skip"` a bad input's result is its `Skipped`,
        with its index in the chunk replaced by its index in the stream.
        """
        _check_stream(inputs, chunk_size, options)
        return self._stream(inputs, chunk_size, options)

    def _stream(self, inputs: Iterable[Input], chunk_size: int, options: EncodeOptions) -> Iterator[Any]:
        on_error = options.pop("on_error", "raise")
        options["on_error"] = "skip"

        def encode(chunk: list[Any]) -> list[Any]:
            return _one_each(self.encode(chunk, **options), len(chunk))

        # Closed with this generator, though an error's traceback may keep it alive.
        with closing(stream_in_order(inputs, encode, chunk_size)) as results:
            index = 0
            try:
                for result in results:
                    yield _at(index, result, on_error)
                    index += 1
            except EngineDeadError as error:
                raise _in_stream(error, index) from error

    async def astream(
        self, inputs: AsyncIterable[Input], *, chunk_size: int = 256, **options: Unpack[EncodeOptions]
    ) -> AsyncIterator[Any]:
        """`stream` over an async iterable; inputs that come slowly are not kept waiting for a full chunk."""
        _check_stream(inputs, chunk_size, options)
        on_error = options.pop("on_error", "raise")
        options["on_error"] = "skip"

        async def encode(chunk: list[Any]) -> list[Any]:
            return _one_each(await self.aencode(chunk, **options), len(chunk))

        index = 0
        async with aclosing(astream_in_order(inputs, encode, chunk_size)) as results:
            try:
                async for result in results:
                    yield _at(index, result, on_error)
                    index += 1
            except EngineDeadError as error:
                raise _in_stream(error, index) from error

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by the model's own tokenizer, without a prompt and without a limit."""
        return self._calls.count_tokens(texts)

    def similarity_map(self, query: str, image: ImageSource, *, task: str | None = None) -> SimilarityMap:
        """Where in an image each word of a query is found, by multi-vectors.

        Returns: `words`, and `maps`, float32 (words, rows, columns): the cosine of each patch with each word.

        Raises:
            EmptyInputError: a query without words.
            ImageError: an image that can't be read.
            MultivectorUnavailableError: the model has no multi-vectors.
        """
        (prepared,) = self._calls.image([image], task=task, return_multivector=True).batch
        assert prepared.image is not None
        query_vectors = self.encode_text(query, task, prompt_name="query", return_multivector=True)
        image_vectors = self.encode_image([image], task, return_multivector=True)[0]

        def count_tokens(queries: Sequence[str]) -> list[int]:
            prefix = PREFIXES["query"]
            return self.count_tokens([prefix + part if part else prefix.rstrip() for part in queries])

        return make_map(query, query_vectors, image_vectors, prepared.image, count_tokens)

    @staticmethod
    def similarity(a: FloatArray, b: FloatArray) -> FloatArray:
        """Cosine of every vector of `a` (n, dim) with every vector of `b` (m, dim): (n, m)."""
        return scores.similarity(a, b)

    @staticmethod
    def maxsim(query: FloatArray, documents: FloatArray | Sequence[FloatArray]) -> FloatArray:
        """Late-interaction score of a query (tokens, dim) with each document (tokens, dim): (n,)."""
        return scores.maxsim(query, documents)

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

    def _run(self, make: Callable[..., Job], inputs: Any, batch_size: int | None, *, whole: bool = False) -> Any:
        """Makes and runs the job of these inputs, `make(calls, inputs)`; in parts if there are many of them.

        whole: the inputs belong together.
        """
        batch_size = _checked(batch_size)

        def encode(first: int, part: Any, call_size: int | None = None) -> Any:
            job = make(self._calls.starting_at(first), part)
            try:
                return job.finish(self._engine.run(job.batch, batch_size=batch_size, call_size=call_size))
            except EngineDeadError as error:
                raise job.rescue(error) from error

        at_once = self._engine.calls_at_once
        if at_once > 1 and isinstance(inputs, (list, tuple)) and not whole:
            size = part_size(inputs)
            if len(inputs) > size:
                return run_in_parts(inputs, size, partial(encode, call_size=len(inputs)), at_once)
        return encode(0, inputs)

    async def _arun(self, make_job: Callable[[], Job], batch_size: int | None) -> Any:
        job = await asyncio.to_thread(make_job)
        try:
            outputs = await self._engine.arun(job.batch, batch_size=_checked(batch_size))
        except EngineDeadError as error:
            raise job.rescue(error) from error
        return await asyncio.to_thread(job.finish, outputs)


def _checked(batch_size: int | None) -> int | None:
    if batch_size is not None and not _is_count(batch_size):
        raise OptionError(f"batch_size must be a whole number above 0, not {batch_size!r}")
    return batch_size


def _check_stream(inputs: object, chunk_size: int, options: EncodeOptions) -> None:
    if isinstance(inputs, (str, bytes)):
        raise InputError("a stream takes an iterable of inputs: put a single one into a list, or use encode")
    if not _is_count(chunk_size):
        raise OptionError(f"chunk_size must be a whole number above 0, not {chunk_size!r}")
    check_on_error(options.get("on_error", "raise"))


def _is_count(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) > 0


def _one_each(result: Partial, num_inputs: int) -> list[Any]:
    """Results aligned with the inputs: a `Skipped` in the place of each bad one."""
    aligned: list[Any] = [None] * num_inputs
    for index, embedding in zip(result.kept, result.embeddings, strict=True):
        aligned[index] = embedding
    for skipped in result.skipped:
        aligned[skipped.index] = skipped
    return aligned


def _in_stream(error: EngineDeadError, start: int) -> EngineDeadError:
    """The error of the chunk that begins there: results are given in order, so all of its inputs count as not done."""
    num_inputs = len(error.not_done) + len(error.done.kept) + len(error.done.skipped)
    return EngineDeadError(error.reason, range(start, start + num_inputs))


def _at(index: int, result: Any, on_error: OnError) -> Any:
    """A result of a stream; a bad input's is its `Skipped` or, if asked for, its error."""
    if not isinstance(result, Skipped):
        return result
    if on_error == "skip":
        return replace(result, index=index)
    kind = type(result.error)
    raise kind(f"input {index}: {result.error}") from result.error
