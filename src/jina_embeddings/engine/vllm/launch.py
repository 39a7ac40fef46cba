"""Starts vLLM's own engine with the adapters of all tasks, and shuts it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...checkpoint import Checkpoint
from ...checkpoint.adapters import split_adapter
from ...options import Options
from ...plugin.parent import forks_are_watched
from ...types import Task
from .arguments import engine_arguments, on_cpu
from .loop import LoopThread
from .paths import possible_path
from .start import log_graphs, require_gpu_memory, require_host_memory

# vLLM kills processes that need longer to shut down, and their shared memory is left behind then.
SHUTDOWN_TIMEOUT_S = 30


@dataclass(frozen=True)
class Launched:
    """llm: vLLM's `AsyncLLM`. adapters: the LoRARequest of each task. graphs: as `PackRunner.record_graphs` reports."""

    llm: Any
    adapters: dict[Task, Any]
    graphs: dict[str, Any]


async def import_vllm() -> None:
    """Imports vLLM in a frame that holds nothing.

    Some of its modules keep the frames that imported them for good. In `launch` they would keep vLLM's engine, whose
    destructor has to run before the interpreter ends.
    """
    import vllm.engine.arg_utils
    import vllm.lora.request
    import vllm.v1.engine.async_llm  # noqa: F401


async def launch(checkpoint: Checkpoint, options: Options, max_length: int) -> Launched:
    """Starts vLLM, loads the adapters into it, and warms packs up if there may be any."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = engine_arguments(checkpoint, options, max_length)
    require = require_host_memory if on_cpu() else require_gpu_memory
    require(checkpoint, options, max_length)
    adapters: dict[Task, Any] = {}
    if arguments.get("enable_lora"):
        assert checkpoint.adapters is not None
        for number, task in enumerate(checkpoint.adapters.tasks, start=1):
            folder = split_adapter(checkpoint.adapters, task)
            adapters[task] = LoRARequest(task, number, str(folder))
    with forks_are_watched():
        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
    for adapter in adapters.values():
        # Loaded now rather than with the first request, so that a broken adapter fails the start.
        await llm.add_lora(adapter)
    graphs: dict[str, Any] = {}
    if possible_path(options) != "scheduled":
        await llm.collective_rpc("jina_warm_up")
        names = [lora_fields(adapter) for adapter in adapters.values()]
        tokens = 0 if options.enforce_eager else options.graph_tokens
        graphs, *_ = await llm.collective_rpc("jina_record_graphs", args=(names, tokens))
        log_graphs(graphs, {number: name for name, number, _ in names})
    return Launched(llm, adapters, graphs)


def shut_down(llm: Any, loop: LoopThread) -> None:
    """Ends vLLM's processes. loop: the one that vLLM was started in."""
    if llm.output_handler is not None:
        # It would log the end of vLLM's process as an engine that died.
        loop.run_last(llm.output_handler.cancel)
    llm.shutdown(timeout=SHUTDOWN_TIMEOUT_S)


def lora_fields(adapter: Any) -> tuple[str, int, str]:
    """Name, id and folder of a LoRARequest, which are sent to workers instead of the object."""
    return adapter.lora_name, adapter.lora_int_id, adapter.lora_path
