"""What a checkpoint's config.json says, in one frozen record; no number of the model is written in code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointInvalidError, CheckpointNotFoundError
from ..types import TASKS, Task

# The published model cuts texts here; its rotary positions would allow more.
MAX_TEXT_TOKENS = 32_768


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Sizes of the vision tower, in the units of config.json."""

    depth: int
    hidden_size: int
    intermediate_size: int
    out_hidden_size: int
    patch_size: int
    temporal_patch_size: int
    spatial_merge_size: int
    in_channels: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of the language model and what is particular to embeddings."""

    architecture: str
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_length: int
    vision: VisionConfig
    multivector_dim: int | None
    matryoshka_dims: tuple[int, ...]
    task_names: tuple[Task, ...]
    weight_dtype: str | None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, or an error that names the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointNotFoundError(f"{path} is missing: the folder is not a whole checkpoint") from error
    except (OSError, ValueError) as error:
        raise CheckpointInvalidError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointInvalidError(f"{path} should hold a JSON object")
    return content


def read_config(folder: Path) -> ModelConfig:
    """Reads `folder/config.json`, with its text fields flat (older) or under `text_config` (newer)."""
    path = folder / "config.json"
    raw = read_json(path)
    if raw.get("model_type") != "qwen2_5_vl":
        raise CheckpointInvalidError(
            f"{path} says model_type {raw.get('model_type')!r}: expected 'qwen2_5_vl' (Jina Embeddings v4)"
        )
    text = {**raw, **raw.get("text_config", {})}
    try:
        vision_raw = raw["vision_config"]
        vision = VisionConfig(
            depth=vision_raw["depth"],
            hidden_size=vision_raw["hidden_size"],
            intermediate_size=vision_raw["intermediate_size"],
            out_hidden_size=vision_raw["out_hidden_size"],
            patch_size=vision_raw.get("patch_size", 14),
            temporal_patch_size=vision_raw.get("temporal_patch_size", 2),
            spatial_merge_size=vision_raw.get("spatial_merge_size", 2),
            in_channels=vision_raw.get("in_channels", vision_raw.get("in_chans", 3)),
        )
        hidden = text["hidden_size"]
        dims = raw.get("matryoshka_dims") or [hidden // 16, hidden // 8, hidden // 4, hidden // 2, hidden]
        unknown = [name for name in raw.get("task_names") or () if name not in TASKS]
        if unknown:
            raise CheckpointInvalidError(f"{path} names tasks that are not known: {unknown}")
        return ModelConfig(
            architecture=(raw.get("architectures") or [""])[0],
            hidden_size=hidden,
            intermediate_size=text["intermediate_size"],
            num_layers=text["num_hidden_layers"],
            num_heads=text["num_attention_heads"],
            num_kv_heads=text["num_key_value_heads"],
            head_dim=text.get("head_dim") or hidden // text["num_attention_heads"],
            vocab_size=text["vocab_size"],
            max_length=min(MAX_TEXT_TOKENS, text["max_position_embeddings"]),
            vision=vision,
            multivector_dim=raw.get("multi_vector_projector_dim"),
            matryoshka_dims=tuple(sorted(dims)),
            task_names=tuple(raw.get("task_names") or ()),
            weight_dtype=raw.get("torch_dtype") or raw.get("dtype") or text.get("dtype"),
        )
    except KeyError as error:
        raise CheckpointInvalidError(f"{path} has no {error.args[0]!r}") from error
