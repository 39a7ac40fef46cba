"""Our options in vLLM's words, and whether vLLM will find our plugin."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any

from ...checkpoint import Checkpoint
from ...checkpoint.model_type import folder_with_model_type
from ...errors import EngineUnavailableError
from ...options import Options
from ...plugin import ARCHITECTURE, SETTINGS
from .packed import WORKER_EXTENSION

# The ranks that vLLM's kernels are made for.
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


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
        "additional_config": {
            SETTINGS: {"task": task, "adapters": adapters is not None, "bulk_weights": options.bulk_weights}
        },
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
    if not checkpoint.config.names_model_type:
        # vLLM and transformers choose their classes by it, and know no other name for them.
        arguments["hf_config_path"] = str(folder_with_model_type(checkpoint.folder))
    if on_cpu():
        # Compiling takes longer there than it ever saves at a laptop's scale. And vLLM's own defaults would take
        # the checkpoint's bfloat16, and reserve nearly all of the host's memory.
        arguments["enforce_eager"] = True
        arguments["dtype"] = "float32" if options.dtype == "auto" else options.dtype
        if options.gpu_memory_utilization is None:
            arguments["kv_cache_memory_bytes"] = _kv_cache_bytes(checkpoint, max_model_len, 4)
    else:
        # Prompts leave the cache after a step or a few, and what it doesn't take is there for merged weights.
        arguments["kv_cache_memory_bytes"] = _kv_cache_bytes(checkpoint, max_model_len, 2)
        if options.max_num_batched_tokens is None:
            # Steps of this size keep a large GPU's matrix units busy; vLLM's own default is made for chats.
            arguments["max_num_batched_tokens"] = 16_384
        # As many short texts as fill such a step.
        arguments["max_num_seqs"] = 1024
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


def on_cpu() -> bool:
    """Whether the vLLM that is installed runs on the CPU."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def devices_of_replicas(options: Options) -> list[list[str]]:
    """The devices of each engine, as CUDA_VISIBLE_DEVICES names them; on a CPU they share what there is.

    Raises:
        EngineUnavailableError: there are too few.
    """
    if on_cpu():
        return [[] for _ in range(options.data_parallel_size)]
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    each = options.tensor_parallel_size * options.pipeline_parallel_size
    needed = each * options.data_parallel_size
    if needed > len(names):
        raise EngineUnavailableError(
            f"{options.data_parallel_size} engines of {each} devices need {needed}, and {len(names)} are visible: "
            "lower data_parallel_size"
        )
    return [names[first : first + each] for first in range(0, needed, each)]


def _kv_cache_bytes(checkpoint: Checkpoint, max_model_len: int, item: int) -> int:
    """A cache of values of `item` bytes that holds the longest prompt twice, and never less than 64 k tokens."""
    config = checkpoint.config
    per_token = 2 * config.num_layers * config.num_kv_heads * config.head_dim * item
    return per_token * max(2 * max_model_len, 65_536)


def require_plugin() -> None:
    """Raises EngineUnavailableError where vLLM would start without our architecture."""
    if not any(point.value.startswith("jina_embeddings.") for point in entry_points(group="vllm.general_plugins")):
        raise EngineUnavailableError(
            "vLLM can't find this package's plugin: install the package (pip install jina-embeddings-vllm) instead "
            "of only putting it on PYTHONPATH"
        )
    allowed = os.environ.get("VLLM_PLUGINS")
    ours = {"jina_embeddings", "jina_embeddings_companions"}
    if allowed is not None and not ours <= set(allowed.split(",")):
        raise EngineUnavailableError(f"VLLM_PLUGINS={allowed!r} leaves our plugins out: add {','.join(sorted(ours))}")
