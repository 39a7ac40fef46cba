"""Checks before vLLM starts whether the model fits in memory.

vLLM's own memory errors come from another process and don't say how much is needed.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace

from ...checkpoint import Checkpoint
from ...checkpoint.config import ModelConfig
from ...errors import OutOfMemoryError
from ...options import Options
from ..memory import GIB, require_memory

logger = logging.getLogger(__name__)

# vLLM's default of gpu_memory_utilization.
DEFAULT_UTILIZATION = 0.92
# Estimate of the bytes that vLLM uses beside weights and KV cache.
_WORKSPACE_BYTES = 1 * GIB
# Bytes of a value by dtype.
_ITEM_BYTES = {"auto": 2, "bfloat16": 2, "float16": 2, "float32": 4}


# Device memory of the graphs of one task, for each token of the largest graph: 0.5 GB for 4,096 on an H200.
_GRAPH_BYTES_PER_TOKEN = 120 * 1024
# Device memory for the activations of packs, which `plugin.packed.banks` and `graphs` leave free.
_ACTIVATION_BYTES = 3 * GIB


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes that one device needs: its shard of the weights, and a KV cache for the longest prompt.

    banks, graphs: the weight banks of all tasks, and their CUDA graphs; packs run without these too, but slower.
    """

    weights: int
    kv_cache: int
    banks: int = 0
    graphs: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + _WORKSPACE_BYTES


def demand(checkpoint: Checkpoint, options: Options, max_model_len: int) -> Demand:
    """The memory that each of the devices needs that the model is sharded over."""
    item = 1 if options.quantization == "fp8" else _ITEM_BYTES[options.dtype]
    num_values = checkpoint.num_values(with_adapters=options.merge_adapter is None)
    devices = options.tensor_parallel_size * options.pipeline_parallel_size
    config = checkpoint.config
    per_token = 2 * config.num_layers * config.num_kv_heads * config.head_dim * max(item, 2)
    num_banks = 0
    if checkpoint.adapters is not None and options.merge_adapter is None and options.bulk_weights != "lora":
        num_banks = len(checkpoint.adapters.tasks)
    return Demand(
        num_values * item // devices,
        per_token * max_model_len // devices,
        num_banks * _linear_values(config) * item // devices,
        max(1, num_banks) * options.graph_tokens * _GRAPH_BYTES_PER_TOKEN,
    )


def _linear_values(config: ModelConfig) -> int:
    """The number of weights of the language model's linear layers, which a bank copies."""
    heads = (2 * config.num_heads + 2 * config.num_kv_heads) * config.head_dim
    return config.num_layers * config.hidden_size * (heads + 3 * config.intermediate_size)


def log_room(needed: Demand, free: int) -> None:
    """Warns before the start if weight banks and graphs won't fit in memory. free: bytes of the device."""
    beside = free - needed.total - _ACTIVATION_BYTES
    if needed.banks + needed.graphs <= beside:
        return
    logger.warning(
        "merged weights of all tasks take %.1f GiB and CUDA graphs %.1f, and %.1f are free beside the model: what "
        "doesn't fit runs on LoRA, slower. Free the device, or load one task with merge_adapter=",
        needed.banks / GIB,
        needed.graphs / GIB,
        max(0, beside) / GIB,
    )


def check_memory(needed: Demand, total: int, free: int, utilization: float | None, max_model_len: int) -> None:
    """Raises OutOfMemoryError, with the numbers, if vLLM would not start on a device.

    total, free: bytes of the device.
    utilization: the share of the device's memory that vLLM takes; None for its default.
    """
    share = DEFAULT_UTILIZATION if utilization is None else utilization
    taken = share * total
    if taken > free:
        fitting = int(100 * free / total) / 100
        advice = f"set gpu_memory_utilization={fitting}" if fitting * total >= needed.total else "free the device"
        raise OutOfMemoryError(
            f"vLLM takes {share:.2f} of the device's {total / GIB:.1f} GiB, which is {taken / GIB:.1f}, and "
            f"{free / GIB:.1f} are free: {advice}"
        )
    if needed.total > taken:
        raise OutOfMemoryError(
            f"the model needs {needed.total / GIB:.1f} GiB ({needed.weights / GIB:.1f} for weights, "
            f"{needed.kv_cache / GIB:.1f} to read {max_model_len} tokens), and gpu_memory_utilization={share:.2f} "
            f"gives it {taken / GIB:.1f} of {total / GIB:.1f}: raise gpu_memory_utilization, lower max_model_len, "
            f"or use quantization='fp8' or tensor_parallel_size"
        )


def require_host_memory(checkpoint: Checkpoint, options: Options, max_model_len: int) -> None:
    """Raises OutOfMemoryError if the model doesn't fit in the host's memory, for vLLM on a CPU; `auto` is float32."""
    dtype = "float32" if options.dtype == "auto" else options.dtype
    needed = demand(checkpoint, replace(options, dtype=dtype), max_model_len)
    require_memory(needed.total, "cpu", "lower max_model_len, or use dtype='bfloat16'")


def require_gpu_memory(checkpoint: Checkpoint, options: Options, max_model_len: int) -> None:
    """`check_memory` for the GPUs that vLLM will use. Their memory is read from the driver, without a CUDA context."""
    from vllm.third_party import pynvml

    needed = demand(checkpoint, options, max_model_len)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = visible.split(",") if visible else [str(number) for number in range(options.tensor_parallel_size)]
    pynvml.nvmlInit()
    try:
        for number in numbers[: options.tensor_parallel_size * options.pipeline_parallel_size]:
            if not number.strip().isdigit():
                # The device is named by its UUID, or it is a MIG slice; leave the check to vLLM.
                continue
            memory = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(int(number)))
            check_memory(needed, int(memory.total), int(memory.free), options.gpu_memory_utilization, max_model_len)
            log_room(needed, int(memory.free))
    finally:
        pynvml.nvmlShutdown()
