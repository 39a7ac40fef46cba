"""The vLLM engine: our architecture in vLLM's continuous batching, one process of its own.

One private thread runs the event loop that talks to vLLM, so that threads and asyncio tasks of the caller
share its batches.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import threading
from collections.abc import Awaitable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from ..checkpoint import Checkpoint
from ..checkpoint.adapters import split_adapter
from ..errors import EngineClosedError, EngineDeadError, EngineError, EngineUnavailableError
from ..logs import configure
from ..options import Options
from ..plugin import ARCHITECTURE
from ..processor import read_image_config
from ..types import Prepared, Task
from .vllm_errors import explain_start
from .vllm_inputs import InputMaker
from .vllm_memory import require_gpu_memory
from .vllm_packed import WORKER_EXTENSION, PackedPath

if TYPE_CHECKING:
    from ..types import FloatArray

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Requests handed to vLLM and not yet answered, at most: enough to fill its batches many times over.
_MAX_IN_FLIGHT = 2048
# vLLM kills processes that take longer, and their shared memory is then left behind.
_SHUTDOWN_S = 30
# Calls with fewer inputs are answered sooner by the scheduler, which shares its steps with other calls.
_PACK_FROM = 8
# The ranks that vLLM's kernels are made for.
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


class VllmEngine:
    """vLLM's scheduler, with all tasks resident as LoRAs, or one merged into the weights."""

    name = "vllm"

    def __init__(self, checkpoint: Checkpoint, options: Options):
        configure()
        _require_plugin()
        self.max_length = options.max_model_len or checkpoint.config.max_length
        self._closed = False
        self._counter = itertools.count()
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
        self.path = options.path
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
        if not _on_cpu():
            require_gpu_memory(checkpoint, options, self.max_length)
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
        for task in asyncio.all_tasks(self._loop):
            self._loop.call_soon_threadsafe(task.cancel)
        atexit.unregister(self.close)
        self._llm.shutdown(timeout=_SHUTDOWN_S)
        # vLLM's destructor must not run as late as the interpreter's end.
        self._llm = self._packed = None
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        if not self._loop.is_running():
            self._loop.close()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._closed:
            work.close()
            raise EngineClosedError("the engine is closed: make a new JinaEmbeddings")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

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
        except VllmDeadError as error:
            raise EngineDeadError(
                "vLLM's engine process has ended; its log says why. Make a new JinaEmbeddings"
            ) from error
        except ValueError as error:
            raise EngineError(f"vLLM refused an input: {error}") from error


def engine_arguments(checkpoint: Checkpoint, options: Options, max_model_len: int) -> dict[str, Any]:
    """Our options in the words of vLLM's `AsyncEngineArgs`."""
    adapters = checkpoint.adapters if options.merge_adapter is None else None
    task = options.merge_adapter or checkpoint.tasks[0]
    arguments: dict[str, Any] = {
        "model": str(checkpoint.folder),
        "runner": "pooling",
        "trust_remote_code": False,
        "dtype": options.dtype,
        "max_model_len": max_model_len,
        "hf_overrides": {"architectures": [ARCHITECTURE]},
        "additional_config": {"jina_embeddings": {"task": task, "adapters": adapters is not None}},
        # Both would leave tokens out of a mean, or reuse those of another task.
        "enable_prefix_caching": False,
        # Our pooler puts chunks together again, so a long text need not fit in one step.
        "enable_chunked_prefill": True,
        "limit_mm_per_prompt": {"image": 1, "video": 0},
        # Patches are made by our processor, and equal inputs are sent once: nothing is left to cache.
        "mm_processor_cache_gb": 0,
        "worker_extension_cls": WORKER_EXTENSION,
        "disable_log_stats": True,
        "enforce_eager": options.enforce_eager,
        "tensor_parallel_size": options.tensor_parallel_size,
        "pipeline_parallel_size": options.pipeline_parallel_size,
        "kv_cache_dtype": options.cache_dtype,
        "quantization": options.quantization,
    }
    if _on_cpu():
        # Compiling takes longer there than it ever saves at a laptop's scale. And vLLM's own defaults would take
        # the checkpoint's bfloat16, and reserve nearly all of the host's memory.
        arguments["enforce_eager"] = True
        arguments["dtype"] = "float32" if options.dtype == "auto" else options.dtype
        if options.gpu_memory_utilization is None:
            arguments["kv_cache_memory_bytes"] = _kv_cache_bytes(checkpoint, max_model_len)
    optional = {
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "max_num_batched_tokens": options.max_num_batched_tokens,
        "max_num_seqs": options.max_num_seqs,
    }
    arguments.update({name: value for name, value in optional.items() if value is not None})
    if adapters is not None:
        rank = next((rank for rank in _LORA_RANKS if rank >= adapters.rank), None)
        if rank is None:
            raise EngineUnavailableError(
                f"vLLM takes adapters up to rank {_LORA_RANKS[-1]}, these have {adapters.rank}: "
                "load one task with merge_adapter="
            )
        arguments.update(enable_lora=True, max_loras=len(adapters.tasks), max_lora_rank=rank)
    return arguments


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _kv_cache_bytes(checkpoint: Checkpoint, max_model_len: int) -> int:
    """A float32 cache that holds the longest prompt twice, and never less than 64 k tokens."""
    config = checkpoint.config
    per_token = 2 * config.num_layers * config.num_kv_heads * config.head_dim * 4
    return per_token * max(2 * max_model_len, 65_536)


def _require_plugin() -> None:
    if not any(point.value.startswith("jina_embeddings.") for point in entry_points(group="vllm.general_plugins")):
        raise EngineUnavailableError(
            "vLLM can't find this package's plugin: install the package (pip install jina-embeddings-vllm) instead "
            "of only putting it on PYTHONPATH"
        )
    allowed = os.environ.get("VLLM_PLUGINS")
    ours = {"jina_embeddings", "jina_embeddings_companions"}
    if allowed is not None and not ours <= set(allowed.split(",")):
        raise EngineUnavailableError(f"VLLM_PLUGINS={allowed!r} leaves our plugins out: add {','.join(sorted(ours))}")
