"""The JSON files and the sizes of the untrained checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Layout = Literal["multi-task", "merged"]

TASKS = ("retrieval", "text-matching", "code")

PATCH_SIZE = 14
TEMPORAL_PATCH_SIZE = 2
SPATIAL_MERGE_SIZE = 2
IN_CHANNELS = 3
WINDOW_SIZE = 112
MIN_PIXELS = 3136
MAX_PIXELS = 602112


@dataclass(frozen=True)
class Size:
    """The numbers that differ between a tiny and a full-size model."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int
    mrope_section: tuple[int, int, int]
    vision_hidden: int
    vision_depth: int
    vision_heads: int
    vision_mlp: int
    vision_full_attention: tuple[int, ...]
    projector: int
    lora_rank: int
    matryoshka: tuple[int, ...]
    shards: int


SIZES = {
    "tiny": Size(
        hidden=128,
        layers=3,
        heads=4,
        kv_heads=2,
        mlp=256,
        vocabulary=1536,
        mrope_section=(4, 6, 6),
        vision_hidden=64,
        vision_depth=4,
        vision_heads=4,
        vision_mlp=96,
        vision_full_attention=(1, 3),
        projector=32,
        lora_rank=8,
        matryoshka=(16, 32, 64, 128),
        shards=1,
    ),
    "v4": Size(
        hidden=2048,
        layers=36,
        heads=16,
        kv_heads=2,
        mlp=11008,
        vocabulary=151936,
        mrope_section=(16, 24, 24),
        vision_hidden=1280,
        vision_depth=32,
        vision_heads=16,
        vision_mlp=3420,
        vision_full_attention=(7, 15, 23, 31),
        projector=128,
        lora_rank=32,
        matryoshka=(128, 256, 512, 1024, 2048),
        shards=4,
    ),
}


def config_json(
    s: Size, ids: Mapping[str, int], *, layout: Layout, dtype: str, tasks: Sequence[str] = TASKS
) -> dict[str, Any]:
    """config.json with the text fields both flat and nested, as the published file has them."""
    text = {
        "attention_dropout": 0.0,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": s.hidden,
        "initializer_range": 0.02,
        "intermediate_size": s.mlp,
        "max_position_embeddings": 128000,
        "max_window_layers": 70,
        "num_attention_heads": s.heads,
        "num_hidden_layers": s.layers,
        "num_key_value_heads": s.kv_heads,
        "rms_norm_eps": 1e-6,
        "rope_scaling": {"mrope_section": list(s.mrope_section), "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": s.vocabulary,
    }
    vision = {
        "model_type": "qwen2_5_vl",
        "depth": s.vision_depth,
        "fullatt_block_indexes": list(s.vision_full_attention),
        "hidden_act": "silu",
        "hidden_size": s.vision_hidden,
        "in_channels": IN_CHANNELS,
        "in_chans": IN_CHANNELS,
        "initializer_range": 0.02,
        "intermediate_size": s.vision_mlp,
        "num_heads": s.vision_heads,
        "out_hidden_size": s.hidden,
        "patch_size": PATCH_SIZE,
        "spatial_merge_size": SPATIAL_MERGE_SIZE,
        "spatial_patch_size": PATCH_SIZE,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "tokens_per_second": 2,
        "torch_dtype": dtype,
        "window_size": WINDOW_SIZE,
    }
    config = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        **text,
        "text_config": {"model_type": "qwen2_5_vl_text", **text},
        "vision_config": vision,
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"],
    }
    if layout == "multi-task":
        config |= {
            "architectures": ["JinaEmbeddingsV4Model"],
            "auto_map": {
                "AutoConfig": "configuration_jina_embeddings_v4.JinaEmbeddingsV4Config",
                "AutoModel": "modeling_jina_embeddings_v4.JinaEmbeddingsV4Model",
            },
            "task_names": list(tasks),
            "matryoshka_dims": list(s.matryoshka),
            "multi_vector_projector_dim": s.projector,
            "single_vector_pool_strategy": "mean",
            "truncate_dim": None,
        }
    return config


def preprocessor_json() -> dict[str, Any]:
    """preprocessor_config.json; both spellings of the pixel limits, as the published file has them."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        "patch_size": PATCH_SIZE,
        "merge_size": SPATIAL_MERGE_SIZE,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }


def adapter_json(rank: int, alpha: int) -> dict[str, Any]:
    """adapter_config.json: what peft writes for LoRA on the text model's linears and on the projector."""
    linears = "down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj"
    return {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": "jinaai/jina-embeddings-v4",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.1,
        "bias": "none",
        "target_modules": f"(.*(model).*({linears}).*$|.*(multi_vector_projector).*$)",
        "modules_to_save": None,
        "exclude_modules": ".*visual.*",
        "rank_pattern": {},
        "alpha_pattern": {},
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": "gaussian",
        "use_dora": False,
        "use_rslora": False,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
