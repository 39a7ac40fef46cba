"""Starts vLLM's own engine with the adapters of all tasks, explains why that failed, and shuts it down."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from ...checkpoint import Checkpoint
from ...checkpoint.adapters import split_adapter
from ...errors import EngineError, JinaEmbeddingsError, OutOfMemoryError
from ...options import Options
from ...plugin.parent import forks_are_watched
from ...types import Task
from ..loop_thread import LoopThread
from ..memory import GIB
from .arguments import engine_arguments, on_cpu
from .memory import require_gpu_memory, require_host_memory
from .paths import possible_path

logger = logging.getLogger(__name__)

# vLLM kills processes that need longer to shut down, and their shared memory is left behind then.
SHUTDOWN_TIMEOUT_S = 30
# The environment variable that says how vLLM starts its processes.
_START_METHOD = "VLLM_WORKER_MULTIPROC_METHOD"
# Parts of vLLM's messages, in lower case, that mean that memory was missing.
_MEMORY_SIGNS = (
    "out of memory",
    "free memory on device",
    "no available memory for the cache blocks",
    "larger than the available kv cache memory",
    "larger than the maximum number of tokens",
    "gpu memory utilization",
)


@dataclass(frozen=True)
class Launched:
    """llm: vLLM's `AsyncLLM`. adapters: the LoRARequest of each task. graphs: as `PackRunner.record_graphs` reports."""

    llm: Any
    adapters: dict[Task, Any]
    graphs: dict[str, Any]


def launch(loop: LoopThread, checkpoint: Checkpoint, options: Options, max_length: int) -> Launched:
    """Starts vLLM in a loop, loads the adapters into it, and warms packs up if there may be any."""
    # Some of vLLM's modules keep the frames that import them for good. Those of `_launch` would keep vLLM's engine,
    # whose destructor has to run before the interpreter ends.
    loop.run(_import_vllm())
    return loop.run(_launch(checkpoint, options, max_length))


async def _import_vllm() -> None:
    import vllm.engine.arg_utils
    import vllm.lora.request
    import vllm.v1.engine.async_llm  # noqa: F401


async def _launch(checkpoint: Checkpoint, options: Options, max_length: int) -> Launched:
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
    if not on_cpu():
        spawn_if_forks_lack_cuda()
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


def spawn_if_forks_lack_cuda() -> None:
    """Has vLLM spawn its processes, rather than fork them, if torch refuses CUDA in forked ones.

    vLLM does so itself if CUDA is initialised. But torch refuses it also if the program has counted devices without
    initialising CUDA, as `torch.cuda.is_available()` does, and only a forked process can tell.
    """
    import torch

    if _START_METHOD in os.environ:
        return
    child = os.fork()
    if child == 0:
        os._exit(int(torch.cuda._is_in_bad_fork()))
    _, status = os.waitpid(child, 0)
    if status:
        os.environ[_START_METHOD] = "spawn"


def explain_start(error: Exception, checkpoint: Checkpoint, options: Options) -> Exception:
    """The exception of `errors` for one that was raised while vLLM started; ours are returned as they are."""
    if isinstance(error, JinaEmbeddingsError):
        return error
    text = str(error)
    if any(sign in text.lower() for sign in _MEMORY_SIGNS):
        return OutOfMemoryError(
            f"vLLM needs memory for {checkpoint.weights.num_bytes / GIB:.1f} GiB of weights and for prompts of "
            f"{options.max_model_len or checkpoint.config.max_length} tokens, and did not get it: "
            f"lower max_model_len or max_num_batched_tokens, change gpu_memory_utilization, or free the device ({text})"
        )
    return EngineError(f"vLLM did not start: {text} (JINA_EMBEDDINGS_LOG=debug shows its own log)")


def shut_down(llm: Any, loop: LoopThread) -> None:
    """Ends vLLM's processes. loop: the one that vLLM was started in."""
    if llm.output_handler is not None:
        # It would log the end of vLLM's process as an engine that died.
        loop.run_last(llm.output_handler.cancel)
    llm.shutdown(timeout=SHUTDOWN_TIMEOUT_S)


def lora_fields(adapter: Any) -> tuple[str, int, str]:
    """Name, id and folder of a LoRARequest, which are sent to workers instead of the object."""
    return adapter.lora_name, adapter.lora_int_id, adapter.lora_path


def log_graphs(report: dict[str, Any], names: dict[int, str]) -> None:
    """Logs how many CUDA graphs there are, or why there are none.

    report: as returned by `PackRunner.record_graphs`; names: the adapters' names by id.
    """
    for number, why in report["reasons"].items():
        logger.info("small packs%s run without CUDA graphs: %s", f" of {names[number]}" if number in names else "", why)
    if report["count"]:
        logger.info(
            "%d CUDA graphs of packs of up to %d tokens recorded in %.1f s and %.2f GB; the device's peak is %.1f GB",
            report["count"],
            max(report["tokens"].values()),
            report["seconds"],
            report["bytes"] / 1e9,
            report["peak_bytes"] / 1e9,
        )
