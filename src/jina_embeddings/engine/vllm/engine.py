"""The vLLM engine: our architecture in vLLM's continuous batching, one process of its own.

One private thread runs the event loop that talks to vLLM, so that threads and asyncio tasks of the caller
share its batches.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...checkpoint import Checkpoint
from ...checkpoint.adapters import split_adapter
from ...errors import EngineDeadError, EngineError, JinaEmbeddingsError, OutOfMemoryError
from ...inputs.processor import read_image_config
from ...logs import configure
from ...options import Options
from ...plugin.parent import forks_are_watched
from ...types import Prepared, Task
from .arguments import engine_arguments, on_cpu, require_plugin
from .loop import LoopThread
from .packed import PackedPath
from .requests import InputMaker
from .start import explain_start, require_gpu_memory, require_host_memory

if TYPE_CHECKING:
    from ...types import FloatArray

logger = logging.getLogger(__name__)

# Requests handed to vLLM and not yet answered, at most: enough to fill its batches many times over.
_MAX_IN_FLIGHT = 2048
# vLLM kills processes that take longer, and their shared memory is then left behind.
_SHUTDOWN_S = 30
# How often a call looks whether the engine's process still lives: vLLM itself leaves some calls waiting for ever.
_WATCH_S = 0.25
# Inputs from which on a call is packed. Smaller ones go to the scheduler, where they share steps with other callers'
# instead of waiting for each other; on a CPU its steps cost so much more that sharing them gains nothing.
_PACK_FROM, _PACK_FROM_ON_CPU = 16, 1


class VllmEngine:
    """vLLM's scheduler, with all tasks resident as LoRAs, or one merged into the weights."""

    name = "vllm"
    # One is prepared, one runs, one is finished.
    calls_at_once = 3

    def __init__(self, checkpoint: Checkpoint, options: Options):
        configure()
        require_plugin()
        self.max_length = options.max_model_len or checkpoint.config.max_length
        self._counter = itertools.count()
        self._adapters: dict[Task, Any] = {}
        self._loop = LoopThread("jina-embeddings-vllm")
        try:
            self._llm: Any = self._loop.run(self._start(checkpoint, options))
        except Exception as error:
            self._loop.stop()
            raise explain_start(error, checkpoint, options) from error
        image_config = read_image_config(checkpoint)
        self._inputs = InputMaker(image_config)
        self.path = possible_path(options)
        self._pack_from = _PACK_FROM_ON_CPU if on_cpu() else _PACK_FROM
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
        self.pack_tokens: int = self._packed.max_tokens
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
        with forks_are_watched():
            llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        for adapter in self._adapters.values():
            # Before the first request rather than with it: a broken adapter shows now.
            await llm.add_lora(adapter)
        if possible_path(options) != "scheduled":
            await llm.collective_rpc("jina_warm_up")
        return llm

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        return self._loop.run(self._run(batch, call_size))

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        return await self._loop.arun(self._run(batch, call_size))

    def close(self) -> None:
        if self._loop.stopping:
            return
        self._loop.cancel()
        atexit.unregister(self.close)
        self._llm.shutdown(timeout=_SHUTDOWN_S)
        # vLLM's destructor must not run as late as the interpreter's end.
        self._llm = self._packed = None
        self._loop.stop()

    async def _run(self, batch: Sequence[Prepared], call_size: int | None) -> list[FloatArray]:
        """The results of a batch; an engine that dies meanwhile is an error with those that came."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        # Kept: `close` lets go of it while this may still be cleaning up.
        llm = self._llm
        results: list[Any] = [None] * len(batch)
        work = asyncio.ensure_future(self._fill(results, batch, call_size or len(batch)))
        try:
            while not (await asyncio.wait({work}, timeout=_WATCH_S))[0]:
                if llm.errored:
                    raise VllmDeadError
            work.result()
        except JinaEmbeddingsError:
            raise
        except VllmDeadError as error:
            raise EngineDeadError(
                "vLLM's engine process has ended; its log says why. Make a new JinaEmbeddings",
                [index for index, result in enumerate(results) if result is None],
                results,
            ) from error
        except Exception as error:
            if "out of memory" in str(error).lower():
                raise OutOfMemoryError(
                    f"a step didn't fit in memory: lower max_num_batched_tokens ({error})"
                ) from error
            raise EngineError(f"vLLM refused the work: {error}") from error
        finally:
            work.cancel()
            # For what it has to clean up; a dead engine may keep it waiting for ever.
            await asyncio.wait({work}, timeout=1 if llm.errored else _SHUTDOWN_S)
        return results

    async def _fill(self, results: list[Any], batch: Sequence[Prepared], call_size: int) -> None:
        """Packed or scheduled; inputs too long for a pack always go the scheduled way."""
        packs = self.path == "packed" or (self.path == "auto" and call_size >= self._pack_from)
        short: list[int] = []
        long: list[int] = []
        for index, prepared in enumerate(batch):
            (short if packs and prepared.num_tokens <= self.pack_tokens else long).append(index)
        await self._packed.fill(results, batch, short)
        await self._fill_scheduled(results, batch, long)

    async def _fill_scheduled(self, results: list[Any], batch: Sequence[Prepared], indices: list[int]) -> None:
        upcoming = iter(indices)

        async def work() -> None:
            # Workers share one iterator: each takes the next input when its last one is done.
            for index in upcoming:
                results[index] = await self._request(batch[index])

        tasks = [asyncio.ensure_future(work()) for _ in range(min(_MAX_IN_FLIGHT, len(indices)))]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _request(self, prepared: Prepared) -> FloatArray:
        prompt, params = self._inputs.make(prepared)
        adapter = self._adapters.get(prepared.task)
        async for output in self._llm.encode(prompt, params, f"jina-{next(self._counter)}", lora_request=adapter):
            if output.finished:
                vectors: FloatArray = output.outputs.data.numpy()
                return vectors[None] if vectors.ndim == 1 else vectors
        raise EngineError("vLLM ended a request without an answer")


def possible_path(options: Options) -> str:
    """A pack runs through the whole model at once: with pipeline stages only the scheduler can."""
    return options.path if options.pipeline_parallel_size == 1 else "scheduled"
