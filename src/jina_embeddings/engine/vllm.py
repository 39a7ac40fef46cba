"""The vLLM engine: our architecture in vLLM's continuous batching, one process of its own.

One private thread runs the event loop that talks to vLLM, so that threads and asyncio tasks of the caller
share its batches.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import threading
from collections.abc import Awaitable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..checkpoint import Checkpoint
from ..checkpoint.adapters import split_adapter
from ..errors import (
    EngineClosedError,
    EngineDeadError,
    EngineError,
    JinaEmbeddingsError,
    OutOfMemoryError,
)
from ..logs import configure
from ..options import Options
from ..processor import read_image_config
from ..types import Prepared, Task
from .vllm_arguments import engine_arguments, on_cpu, require_plugin
from .vllm_errors import explain_start
from .vllm_inputs import InputMaker
from .vllm_memory import require_gpu_memory, require_host_memory
from .vllm_packed import PackedPath

if TYPE_CHECKING:
    from ..types import FloatArray

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Requests handed to vLLM and not yet answered, at most: enough to fill its batches many times over.
_MAX_IN_FLIGHT = 2048
# vLLM kills processes that take longer, and their shared memory is then left behind.
_SHUTDOWN_S = 30
# Smaller calls go to the scheduler, where they share steps with other callers' instead of waiting for each other.
_PACK_FROM = 8


class VllmEngine:
    """vLLM's scheduler, with all tasks resident as LoRAs, or one merged into the weights."""

    name = "vllm"
    overlaps = True

    def __init__(self, checkpoint: Checkpoint, options: Options):
        configure()
        require_plugin()
        self.max_length = options.max_model_len or checkpoint.config.max_length
        self._closed = False
        self._counter = itertools.count()
        self._running: set[Future[Any]] = set()
        self._adapters: dict[Task, Any] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jina-embeddings-vllm", daemon=True)
        self._thread.start()
        try:
            self._llm: Any = self._submit(self._start(checkpoint, options)).result()
        except Exception as error:
            self._stop_loop()
            raise explain_start(error, checkpoint, options) from error
        image_config = read_image_config(checkpoint)
        self._inputs = InputMaker(image_config)
        # A pack runs through the whole model at once: with pipeline stages only the scheduler can.
        self.path = options.path if options.pipeline_parallel_size == 1 else "scheduled"
        self._packed: Any = PackedPath(
            self._llm.collective_rpc,
            {
                task: (adapter.lora_name, adapter.lora_int_id, adapter.lora_path)
                for task, adapter in self._adapters.items()
            },
            image_config,
            max_tokens=self._llm.vllm_config.scheduler_config.max_num_batched_tokens,
            hidden_size=checkpoint.config.hidden_size,
            multivector_dim=checkpoint.config.multivector_dim,
            half=options.multivector_dtype == "float16",
        )
        # vLLM's processes must not outlive a program that forgets to close.
        atexit.register(self.close)

    async def _start(self, checkpoint: Checkpoint, options: Options) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = engine_arguments(checkpoint, options, self.max_length)
        require = require_host_memory if on_cpu() else require_gpu_memory
        require(checkpoint, options, self.max_length)
        if arguments.get("enable_lora"):
            assert checkpoint.adapters is not None
            for number, task in enumerate(checkpoint.adapters.tasks, start=1):
                folder = split_adapter(checkpoint.adapters, task)
                self._adapters[task] = LoRARequest(task, number, str(folder))
        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        for adapter in self._adapters.values():
            # Before the first request rather than with it: a broken adapter shows now.
            await llm.add_lora(adapter)
        return llm

    def run(self, batch: Sequence[Prepared], *, batch_size: int | None = None) -> list[FloatArray]:
        try:
            return self._submit(self._run(batch)).result()
        except CancelledError as error:
            raise EngineClosedError("the engine was closed during the call") from error

    async def arun(self, batch: Sequence[Prepared], *, batch_size: int | None = None) -> list[FloatArray]:
        try:
            return await asyncio.wrap_future(self._submit(self._run(batch)))
        except asyncio.CancelledError:
            # Either the caller was cancelled, or close() has cancelled the work: only the latter is an error.
            if self._closed:
                raise EngineClosedError("the engine was closed during the call") from None
            raise

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for work in list(self._running):
            work.cancel()
        atexit.unregister(self.close)
        self._llm.shutdown(timeout=_SHUTDOWN_S)
        # vLLM's destructor must not run as late as the interpreter's end.
        self._llm = self._packed = None
        self._stop_loop()

    def _stop_loop(self) -> None:
        # vLLM leaves tasks of its own behind, and a loop that ends under them complains at exit.
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        if not self._loop.is_running():
            self._loop.close()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._closed:
            work.close()
            raise EngineClosedError("the engine is closed: make a new JinaEmbeddings")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    async def _run(self, batch: Sequence[Prepared]) -> list[FloatArray]:
        """Packed or scheduled; inputs too long for a pack always go the scheduled way."""
        if self.path == "scheduled" or (self.path == "auto" and len(batch) < _PACK_FROM):
            return await self._run_scheduled(batch)
        short = [i for i, prepared in enumerate(batch) if prepared.num_tokens <= self._packed.max_tokens]
        long = [i for i, prepared in enumerate(batch) if prepared.num_tokens > self._packed.max_tokens]
        results: list[Any] = [None] * len(batch)
        for indices, path in ((short, self._packed.run), (long, self._run_scheduled)):
            if indices:
                for index, result in zip(indices, await self._guard(path([batch[i] for i in indices])), strict=True):
                    results[index] = result
        return results

    async def _run_scheduled(self, batch: Sequence[Prepared]) -> list[FloatArray]:
        results: list[Any] = [None] * len(batch)
        upcoming = iter(enumerate(batch))

        async def work() -> None:
            # Workers share one iterator: each takes the next input when its last one is done.
            for index, prepared in upcoming:
                results[index] = await self._request(prepared)

        tasks = [asyncio.ensure_future(work()) for _ in range(min(_MAX_IN_FLIGHT, len(batch)))]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        return results

    async def _request(self, prepared: Prepared) -> FloatArray:
        prompt, params = self._inputs.make(prepared)
        output = await self._guard(self._encode(prompt, params, prepared))
        vectors: FloatArray = output.outputs.data.numpy()
        return vectors[None] if vectors.ndim == 1 else vectors

    async def _encode(self, prompt: Any, params: Any, prepared: Prepared) -> Any:
        adapter = self._adapters.get(prepared.task)
        async for output in self._llm.encode(prompt, params, f"jina-{next(self._counter)}", lora_request=adapter):
            if output.finished:
                return output
        raise EngineError("vLLM ended a request without an answer")

    @staticmethod
    async def _guard(work: Awaitable[T]) -> T:
        """Awaits vLLM and turns its errors into ours."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        try:
            return await work
        except JinaEmbeddingsError:
            raise
        except VllmDeadError as error:
            raise EngineDeadError(
                "vLLM's engine process has ended; its log says why. Make a new JinaEmbeddings"
            ) from error
        except Exception as error:
            if "out of memory" in str(error).lower():
                raise OutOfMemoryError(
                    f"a step didn't fit in memory: lower max_num_batched_tokens ({error})"
                ) from error
            raise EngineError(f"vLLM refused the work: {error}") from error


async def _cancel_all() -> None:
    """Ends every other task of the running loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
