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
from ...errors import EngineClosedError, EngineDeadError, EngineError, JinaEmbeddingsError, OutOfMemoryError
from ...inputs.processor import read_image_config
from ...logs import configure
from ...options import Options
from ...plugin.parent import forks_are_watched
from ...types import Prepared, Task
from .arguments import engine_arguments, on_cpu, require_plugin
from .loop import LoopThread
from .packed import PackedPath
from .queue import Call
from .replies import SmallCalls
from .requests import InputMaker
from .sender import PackSender
from .small import SmallPacks
from .start import explain_start, log_graphs, require_gpu_memory, require_host_memory

if TYPE_CHECKING:
    from ...types import FloatArray

logger = logging.getLogger(__name__)

# Requests handed to vLLM and not yet answered, at most: enough to fill its batches many times over.
_MAX_IN_FLIGHT = 2048
# vLLM kills processes that take longer, and their shared memory is then left behind.
_SHUTDOWN_S = 30
# How often the engine is asked whether its process still lives: vLLM itself leaves some calls waiting for ever.
_WATCH_S = 0.25
# Inputs that wait from which on they are packed where packs have no graphs: launching a pack takes the host longer than
# a step of the scheduler. On a CPU the scheduler's steps cost so much more that sharing them gains nothing.
_PACK_FROM, _PACK_FROM_ON_CPU = 16, 1
# Tokens of a call that counts as small where packs have no graphs.
_SMALL_TOKENS = 4096


class VllmEngine:
    """vLLM's scheduler, with all tasks resident as LoRAs, or one merged into the weights."""

    name = "vllm"
    # One is prepared, one runs, one is finished.
    calls_at_once = 3
    chunk_size = 256

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
        self.pack_tokens: int = self._llm.vllm_config.scheduler_config.max_num_batched_tokens
        # Tokens of a small call, which goes with others as one pack.
        self.small_tokens: int = min(options.graph_tokens or _SMALL_TOKENS, self.pack_tokens)
        self._sender: Any = PackSender(
            self._llm.collective_rpc,
            {task: _names(adapter) for task, adapter in self._adapters.items()},
            image_config,
            hidden_size=checkpoint.config.hidden_size,
            multivector_dim=checkpoint.config.multivector_dim,
            half=options.multivector_dtype == "float16",
        )
        self._packed: Any = PackedPath(self._sender, self.pack_tokens)
        self._small = SmallPacks(self._sender, self.small_tokens, before_each=self._packed.spare)
        self._calls = SmallCalls(self._loop, self._accept, self._small.drop)
        self._requests: set[asyncio.Future[None]] = set()
        self._died = self._loop.run(self._watch())
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
        self.graphs: dict[str, Any] = {}
        if possible_path(options) != "scheduled":
            await llm.collective_rpc("jina_warm_up")
            names = [_names(adapter) for adapter in self._adapters.values()]
            tokens = 0 if options.enforce_eager else options.graph_tokens
            self.graphs, *_ = await llm.collective_rpc("jina_record_graphs", args=(names, tokens))
            log_graphs(self.graphs, {number: name for name, number, _ in names})
        return llm

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        if not self._is_small(batch, call_size):
            return self._loop.run(self._run(batch, call_size))
        try:
            return self._calls.run(batch)
        except Exception as error:
            raise self._explained(error, [None] * len(batch)) from error

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        if not self._is_small(batch, call_size):
            return await self._loop.arun(self._run(batch, call_size))
        try:
            return await self._calls.arun(batch)
        except Exception as error:
            raise self._explained(error, [None] * len(batch)) from error

    def _is_small(self, batch: Sequence[Prepared], call_size: int | None) -> bool:
        """Whether the batch is a whole call that goes with others in one pack."""
        if self.path == "scheduled" or not batch or (call_size or len(batch)) > len(batch):
            return False
        num_tokens = sum(prepared.num_tokens for prepared in batch)
        return num_tokens <= self.small_tokens

    @property
    def alive(self) -> bool:
        return not self._loop.stopping and not self._llm.errored

    def close(self) -> None:
        if self._loop.stopping:
            return
        self._loop.cancel()
        atexit.unregister(self.close)
        self._loop.run_last(lambda: self._small.fail_all(EngineClosedError("the engine was closed during the call")))
        self._llm.shutdown(timeout=_SHUTDOWN_S)
        # vLLM's destructor must not run as late as the interpreter's end; a call that comes too late may still look.
        self._llm = self._packed = self._sender = None
        self._loop.stop()

    async def _watch(self) -> asyncio.Future[None]:
        """A future that is done when the engine has died; small calls fail then, larger ones wait for it too."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        llm, died = self._llm, asyncio.get_running_loop().create_future()

        async def watch() -> None:
            while not llm.errored:
                await asyncio.sleep(_WATCH_S)
            died.set_result(None)
            self._small.fail_all(VllmDeadError())

        self._watcher = asyncio.ensure_future(watch())
        return died

    def _accept(self, call: Call) -> None:
        """A small call, in the engine's loop: into a pack, or to the scheduler where that is quicker."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        if self._loop.stopping:
            call.fail(EngineClosedError("the engine was closed during the call"))
        elif self._died.done():
            call.fail(VllmDeadError())
        elif self.path == "packed" or self.graphs.get("tokens") or self._many_wait(call):
            self._small.add(call)
        else:
            request = asyncio.ensure_future(self._schedule(call))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    def _many_wait(self, call: Call) -> bool:
        return bool(self._small.num_waiting + len(self._requests) + len(call.batch) >= self._pack_from)

    async def _schedule(self, call: Call) -> None:
        try:
            call.results[:] = await self._run(call.batch, 0)
        except BaseException as error:
            call.fail(error if isinstance(error, Exception) else EngineClosedError(str(error)))
        else:
            call.succeed()

    def _explained(self, error: Exception, results: list[Any]) -> Exception:
        """An error of our tree for one that came while the engine worked; results: None for inputs not done."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        if isinstance(error, JinaEmbeddingsError):
            return error
        if isinstance(error, VllmDeadError):
            not_done = [index for index, result in enumerate(results) if result is None]
            reason = "vLLM's engine process has ended; its log says why. Make a new JinaEmbeddings"
            return EngineDeadError(reason, not_done, results)
        if "out of memory" in str(error).lower():
            return OutOfMemoryError(f"a step didn't fit in memory: lower max_num_batched_tokens ({error})")
        return EngineError(f"vLLM refused the work: {error}")

    async def _run(self, batch: Sequence[Prepared], call_size: int | None) -> list[FloatArray]:
        """The results of a batch; an engine that dies meanwhile is an error with those that came."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        # Kept: `close` lets go of it while this may still be cleaning up.
        llm = self._llm
        results: list[Any] = [None] * len(batch)
        work = asyncio.ensure_future(self._fill(results, batch, len(batch) if call_size is None else call_size))
        try:
            await asyncio.wait({work, self._died}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise VllmDeadError
            work.result()
        except Exception as error:
            raise self._explained(error, results) from error
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


def _names(adapter: Any) -> tuple[str, int, str]:
    """vLLM's request of a LoRA as it travels to workers."""
    return adapter.lora_name, adapter.lora_int_id, adapter.lora_path


def possible_path(options: Options) -> str:
    """A pack runs through the whole model at once: with pipeline stages only the scheduler can."""
    return options.path if options.pipeline_parallel_size == 1 else "scheduled"
