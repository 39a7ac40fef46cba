"""`VllmEngine`: runs our architecture in vLLM's engine process, as packs or through vLLM's scheduler.

One thread runs the event loop that talks to vLLM, so that threads and asyncio tasks of the caller share batches.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import itertools
import logging
import socket
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...checkpoint import Checkpoint
from ...errors import EngineClosedError, EngineDeadError, EngineError, JinaEmbeddingsError, OutOfMemoryError
from ...fill import Fill
from ...inputs.processor import read_image_config
from ...logs import configure
from ...options import Options
from ...plugin.packs import Room
from ...types import Prepared, Task
from ..loop_thread import LoopThread
from .arguments import on_cpu, require_plugin
from .channel import Channel
from .launch import SHUTDOWN_TIMEOUT_S, explain_start, launch, lora_fields, shut_down
from .packed import PackedPath
from .paths import packed_and_scheduled, possible_path
from .queue import Call
from .requests import InputMaker, split_flat
from .sender import PackSender
from .small_calls import SmallCalls
from .small_packs import SmallPacks

if TYPE_CHECKING:
    from ...types import Vectors

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Requests of a call that vLLM has at a time; they fill its batches many times over.
_MAX_REQUESTS_IN_FLIGHT = 2048
# Time between two checks that vLLM's engine process is alive; when it dies, vLLM leaves some calls waiting for ever.
_HEALTH_POLL_S = 0.25
# A pack takes a second at most on a GPU, and minutes on a CPU with the largest model.
_HANG_S, _HANG_S_ON_CPU = 10.0, 300.0
# Without CUDA graphs, the smallest number of waiting inputs that are packed rather than scheduled. Launching a pack
# takes the host longer than a step of vLLM's compiled model; on a CPU packs are always faster.
_MIN_PACKED_INPUTS, _MIN_PACKED_INPUTS_ON_CPU = 16, 1
# Without CUDA graphs, the most tokens of a call that is handled as a small one.
_SMALL_CALL_TOKENS = 4096


class VllmEngine:
    """An engine on vLLM, with the adapters of all tasks as LoRAs, or with one merged into the weights."""

    name = "vllm"
    # One call is prepared, one runs and one is finished at the same time.
    calls_at_once = 3
    chunk_size = 256

    def __init__(self, checkpoint: Checkpoint, options: Options):
        configure()
        require_plugin()
        self.max_length = options.max_model_len or checkpoint.config.max_length
        self._counter = itertools.count()
        self._loop = LoopThread("jina-embeddings-vllm")
        try:
            launched = launch(self._loop, checkpoint, options, self.max_length)
        except Exception as error:
            self._loop.stop()
            raise explain_start(error, checkpoint, options) from error
        self._llm: Any = launched.llm
        self._adapters = launched.adapters
        self.graphs = launched.graphs
        image_config = read_image_config(checkpoint)
        self._inputs = InputMaker(image_config)
        self._hidden_size = checkpoint.config.hidden_size
        self.path = possible_path(options)
        self._min_packed_inputs = _MIN_PACKED_INPUTS_ON_CPU if on_cpu() else _MIN_PACKED_INPUTS
        self.hang_s = _HANG_S_ON_CPU if on_cpu() else _HANG_S
        self.pack_tokens: int = self._llm.vllm_config.scheduler_config.max_num_batched_tokens
        # The most tokens of a small call, and of the packs that small calls share.
        # A size of 0 stands for weights without graphs.
        graph_sizes = [tokens for tokens in self.graphs.get("tokens", {}).values() if tokens]
        self.small_tokens: int = min(options.graph_tokens or _SMALL_CALL_TOKENS, self.pack_tokens, *graph_sizes)
        self._has_graphs = bool(graph_sizes)
        self._sender: Any = PackSender(
            self._llm.collective_rpc,
            {task: lora_fields(adapter) for task, adapter in self._adapters.items()},
            image_config,
            hidden_size=checkpoint.config.hidden_size,
            multivector_dim=checkpoint.config.multivector_dim,
            half=options.multivector_dtype == "float16",
            graphs=self._has_graphs,
        )
        self.pack_fill: Fill = self._sender.pack_fill
        if self._has_graphs and options.tensor_parallel_size == 1 and hasattr(socket, "AF_UNIX"):
            try:
                self._sender.channel = self._loop.run(Channel.open(self._llm.collective_rpc))
            except Exception as error:
                logger.warning("small packs go through vLLM's calls: %s: %s", type(error).__name__, error)
        if self.path != "scheduled":
            self._loop.run(self._sender.share_memory())
        room = (Room.of_graph if self._has_graphs else Room.of_pack)(self.small_tokens)
        self._packed: Any = PackedPath(self._sender, self.pack_tokens)
        self._small = SmallPacks(self._sender, room, before_each=self._packed.halve_packs)
        self._calls = SmallCalls(self._loop, self._accept, self._small.drop)
        self._requests: set[asyncio.Future[None]] = set()
        self._died = self._loop.run(self._watch())
        # vLLM's modules are some hundred thousand objects that live as long as the process. Each full garbage
        # collection would traverse them, and pause all calls for half a second.
        gc.collect()
        gc.freeze()
        # Otherwise nanobind, which Triton uses, reports the frozen objects as leaks when the interpreter ends.
        atexit.register(gc.unfreeze)
        # vLLM's processes must not outlive a program that forgets to close.
        atexit.register(self.close)

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        if not self._is_small(batch, call_size):
            return self._loop.run(self._run(batch, call_size))
        try:
            return self._calls.run(batch)
        except Exception as error:
            raise self._explained(error, [None] * len(batch)) from error

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        if not self._is_small(batch, call_size):
            return await self._loop.arun(self._run(batch, call_size))
        try:
            return await self._calls.arun(batch)
        except Exception as error:
            raise self._explained(error, [None] * len(batch)) from error

    def _is_small(self, batch: Sequence[Prepared], call_size: int | None) -> bool:
        """Whether the batch is a whole call, and small enough to share one pack with other small calls."""
        if self.path == "scheduled" or not batch or (call_size or len(batch)) > len(batch):
            return False
        num_tokens = sum(prepared.num_tokens for prepared in batch)
        return num_tokens <= self.small_tokens

    @property
    def alive(self) -> bool:
        return not self._loop.stopping and not self._llm.errored

    @property
    def weights(self) -> dict[Task, str]:
        """The weights that the packs of each task run on, and why; without tasks that have had no pack."""
        return dict(self._sender.choices)

    async def on_workers(self, method: str) -> list[Any]:
        """Returns what each worker answers to a method of its extension class, such as one that measures."""
        answers: list[Any] = await self._loop.arun(self._llm.collective_rpc(method))
        return answers

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(main)

    def close(self) -> None:
        if self._loop.stopping:
            return
        self._loop.cancel()
        atexit.unregister(self.close)
        self._loop.run_last(lambda: self._small.fail_all(EngineClosedError("the engine was closed during the call")))
        self._loop.run_last(self._sender.close)
        shut_down(self._llm, self._loop)
        # vLLM's destructor must run before interpreter exit. None rather than deleted, as late calls still read them.
        self._llm = self._packed = self._sender = None
        self._loop.stop()

    async def _watch(self) -> asyncio.Future[None]:
        """Starts polling vLLM's engine process; returns a future that is done when it has died.

        Small calls are failed then; larger ones wait for this future beside their own work.
        """
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        llm, died = self._llm, asyncio.get_running_loop().create_future()

        async def watch() -> None:
            while not llm.errored:
                await asyncio.sleep(_HEALTH_POLL_S)
            died.set_result(None)
            self._small.fail_all(VllmDeadError())

        self._watcher = asyncio.ensure_future(watch())
        return died

    def _accept(self, call: Call) -> None:
        """Takes a small call, in the loop's thread: it is packed, or scheduled where that is faster."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        if self._loop.stopping:
            call.fail(EngineClosedError("the engine was closed during the call"))
        elif self._died.done():
            call.fail(VllmDeadError())
        elif self.path == "packed" or self._has_graphs or self._many_wait(call):
            self._small.add(call)
        else:
            request = asyncio.ensure_future(self._schedule(call))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    def _many_wait(self, call: Call) -> bool:
        return bool(self._small.num_waiting + len(self._requests) + len(call.batch) >= self._min_packed_inputs)

    async def _schedule(self, call: Call) -> None:
        try:
            call.results[:] = await self._run(call.batch, 0)
        except BaseException as error:
            call.fail(error if isinstance(error, Exception) else EngineClosedError(str(error)))
        else:
            call.succeed()

    def _explained(self, error: Exception, results: list[Any]) -> Exception:
        """The exception of `errors` for one that vLLM raised during a call; results: None for inputs not embedded."""
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

    async def _run(self, batch: Sequence[Prepared], call_size: int | None) -> list[Vectors]:
        """The results of a batch. If the engine dies, the error has the results that arrived before."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        # `close` sets self._llm to None, which may happen before the clean-up below.
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
            # Wait for its clean-up, but not for ever: a dead engine never answers.
            await asyncio.wait({work}, timeout=1 if llm.errored else SHUTDOWN_TIMEOUT_S)
        return results

    async def _fill(self, results: list[Any], batch: Sequence[Prepared], call_size: int) -> None:
        packed, scheduled = packed_and_scheduled(
            batch, self.path, call_size, min_inputs=self._min_packed_inputs, pack_tokens=self.pack_tokens
        )
        await self._packed.fill(results, batch, packed)
        await self._fill_scheduled(results, batch, scheduled)

    async def _fill_scheduled(self, results: list[Any], batch: Sequence[Prepared], indices: list[int]) -> None:
        upcoming = iter(indices)

        async def work() -> None:
            # The tasks share one iterator: each takes the next input when its last one is done.
            for index in upcoming:
                results[index] = await self._request(batch[index])

        tasks = [asyncio.ensure_future(work()) for _ in range(min(_MAX_REQUESTS_IN_FLIGHT, len(indices)))]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _request(self, prepared: Prepared) -> Vectors:
        prompt, params = self._inputs.make(prepared)
        adapter = self._adapters.get(prepared.task)
        async for output in self._llm.encode(prompt, params, f"jina-{next(self._counter)}", lora_request=adapter):
            if output.finished:
                vectors = output.outputs.data.numpy()
                if prepared.multivector and prepared.spans:
                    return split_flat(vectors, prepared, self._hidden_size)
                return vectors[None] if vectors.ndim == 1 else vectors  # type: ignore[no-any-return]
        raise EngineError("vLLM ended a request without an answer")
