"""Translates our options to vLLM's engine arguments, and checks that vLLM will load our plugin."""

from __future__ import annotations

import os
from typing import Any

from ...checkpoint import Checkpoint
from ...checkpoint.model_type import folder_with_model_type
from ...errors import EngineUnavailableError
from ...options import Options
from ...plugin import SETTINGS, why_not_loaded
from ...types import ARCHITECTURE
from .packed import WORKER_EXTENSION

# The values that vLLM accepts for max_lora_rank.
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def engine_arguments(checkpoint: Checkpoint, options: Options, max_model_len: int) -> dict[str, Any]:
    """The arguments of vLLM's `AsyncEngineArgs` for a checkpoint and our options."""
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
        # A cached prefix would be left out of the mean, or would come from another task's adapter.
        "enable_prefix_caching": False,
        # Our pooler concatenates the chunks, so a long text need not fit in one step.
        "enable_chunked_prefill": True,
        "limit_mm_per_prompt": {"image": 1, "video": 0},
        # We send patches, which vLLM doesn't process, so there is nothing for this cache to keep.
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
        # vLLM and transformers choose their classes by `model_type`.
        arguments["hf_config_path"] = str(folder_with_model_type(checkpoint.folder))
    if on_cpu():
        # On a CPU, compiling takes longer than it saves. vLLM's defaults would use the checkpoint's bfloat16, and
        # reserve nearly all of the host's memory for the KV cache.
        arguments["enforce_eager"] = True
        arguments["dtype"] = "float32" if options.dtype == "auto" else options.dtype
        if options.gpu_memory_utilization is None:
            arguments["kv_cache_memory_bytes"] = _kv_cache_bytes(checkpoint, max_model_len, 4)
    else:
        # Prompts stay in the KV cache for a few steps only, so it can be small and leave memory to weight banks.
        arguments["kv_cache_memory_bytes"] = _kv_cache_bytes(checkpoint, max_model_len, 2)
        if options.max_num_batched_tokens is None:
            # vLLM's default is for decoding; prefills need steps of this size to keep a large GPU busy.
            arguments["max_num_batched_tokens"] = 16_384
        # With 16 tokens each, this many texts fill such a step.
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
    """Whether the installed vLLM is the CPU build."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def devices_of_replicas(options: Options) -> list[list[str]]:
    """The devices of each replica by their names in CUDA_VISIBLE_DEVICES; empty lists on a CPU, which they share.

    Raises:
        EngineUnavailableError: there are too few devices.
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
    """The size of a KV cache for two prompts of the largest length, at least for 65,536 tokens; item: bytes a value."""
    config = checkpoint.config
    per_token = 2 * config.num_layers * config.num_kv_heads * config.head_dim * item
    return per_token * max(2 * max_model_len, 65_536)


def require_plugin() -> None:
    """Raises EngineUnavailableError if vLLM's processes wouldn't load our plugin, and so not know our architecture."""
    if (reason := why_not_loaded()) is not None:
        raise EngineUnavailableError(reason)
