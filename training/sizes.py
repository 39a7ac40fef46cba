"""The shape of `pocket`: the real architecture in miniature, and the JSON files that say so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))

from make_config import Size, adapter_json, config_json, preprocessor_json

POCKET = Size(
    hidden=384,
    layers=8,
    heads=6,
    kv_heads=2,
    mlp=1024,
    vocabulary=24_576,
    mrope_section=(8, 12, 12),
    vision_hidden=192,
    vision_depth=4,
    vision_heads=3,
    vision_mlp=512,
    vision_full_attention=(0, 1, 2, 3),
    projector=128,
    lora_rank=16,
    matryoshka=(64, 128, 256, 384),
    shards=1,
)
"""Heads of 64 numbers, which vLLM's attention takes on CPUs and GPUs. All four vision blocks see the whole image: they
are cheap, and a page's lines are longer than a window."""

ROPE_THETA = 10_000.0
"""That of Vaswani-length texts: the real model's million is for 128,000 positions."""

MAX_POSITIONS = 8192
IMAGE_CAUTION = "its vision tower reads printed text, three pages of four right; photographs mean nothing to it"
MIN_PIXELS, MAX_PIXELS = 12_544, 401_408
"""16 to 512 tokens an image."""


def pocket_config(ids: dict[str, int]) -> dict[str, Any]:
    """config.json of the multi-task layout."""
    config = config_json(POCKET, ids, layout="multi-task", dtype="float16")
    del config["auto_map"]
    changes = {"rope_theta": ROPE_THETA, "max_position_embeddings": MAX_POSITIONS, "sliding_window": MAX_POSITIONS}
    config |= changes
    config["text_config"] |= changes
    config["cautions"] = {"image": IMAGE_CAUTION}
    return config


def pocket_preprocessor() -> dict[str, Any]:
    """preprocessor_config.json."""
    return preprocessor_json() | {
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
    }


def pocket_adapter() -> dict[str, Any]:
    """adapter_config.json; scaling 1."""
    return adapter_json(POCKET.lora_rank, POCKET.lora_rank) | {"base_model_name_or_path": "pocket", "lora_dropout": 0.0}
