"""The values of a checkpoint's config.json in one frozen record; defaults in code are those of transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointInvalidError
from ..types import ARCHITECTURE, TASKS, Task

# The published model truncates texts at this length, though its rotary positions go further.
MAX_TEXT_TOKENS = 32_768
MODEL_TYPE = "qwen2_5_vl"
ARCHITECTURES = (ARCHITECTURE, "Qwen2_5_VLForConditionalGeneration")


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Sizes of the vision tower: patches and windows in pixels, `temporal_patch_size` in frames, merging in patches."""

    depth: int
    hidden_size: int
    intermediate_size: int
    out_hidden_size: int
    patch_size: int
    temporal_patch_size: int
    spatial_merge_size: int
    in_channels: int
    activation: str
    num_heads: int
    window_size: int
    full_attention_blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of the language model, the vision tower, and what config.json says about embeddings.

    names_model_type: whether config.json has a `model_type`, which transformers and vLLM need.
    max_length: tokens at which texts are truncated; max_positions: most tokens of a prompt.
    cautions: what the checkpoint says about its own limits: a sentence by kind of input, such as `image`.
    """

    names_model_type: bool
    architecture: str
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_length: int
    max_positions: int
    norm_eps: float
    activation: str
    sliding_window: bool
    rope_type: str
    rope_theta: float
    mrope_section: tuple[int, ...]
    vision: VisionConfig
    multivector_dim: int | None
    matryoshka_dims: tuple[int, ...]
    truncate_dim: int | None
    task_names: tuple[Task, ...]
    weight_dtype: str | None
    cautions: dict[str, str]


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; raises CheckpointInvalidError with the file's name if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointInvalidError(f"{path} is missing: the folder is not a whole checkpoint") from error
    except (OSError, ValueError) as error:
        raise CheckpointInvalidError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointInvalidError(f"{path} should hold a JSON object")
    return content


def read_config(folder: Path) -> ModelConfig:
    """Reads `folder/config.json`; the language model's fields are at the top (older files) or under `text_config`."""
    path = folder / "config.json"
    raw = read_json(path)
    architecture = _architecture(path, raw.get("architectures"))
    _check_model_type(path, raw.get("model_type"), architecture)
    fields = _Fields(path, raw)
    text = _Fields(path, {**raw, **(fields.mapping("text_config") or {})})
    vision = _Fields(path, fields.mapping("vision_config", required=True) or {})
    hidden, heads = text.count("hidden_size"), text.count("num_attention_heads")
    head_dim = text.count("head_dim", hidden // heads)
    # Newer files have the rotary fields under rope_parameters instead.
    rope = _Fields(path, {**text.values, **(text.mapping("rope_scaling") or text.mapping("rope_parameters") or {})})
    matryoshka_dims = _matryoshka_dims(path, raw.get("matryoshka_dims"), hidden)
    return ModelConfig(
        names_model_type=raw.get("model_type") is not None,
        architecture=architecture,
        hidden_size=hidden,
        intermediate_size=text.count("intermediate_size"),
        num_layers=text.count("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=text.count("num_key_value_heads"),
        head_dim=head_dim,
        vocab_size=text.count("vocab_size"),
        max_length=min(MAX_TEXT_TOKENS, text.count("max_position_embeddings")),
        max_positions=text.count("max_position_embeddings"),
        norm_eps=text.number("rms_norm_eps", 1e-5),
        activation=str(text.values.get("hidden_act", "silu")),
        sliding_window=bool(text.values.get("use_sliding_window")),
        rope_type=str(rope.values.get("rope_type", rope.values.get("type", "default"))),
        rope_theta=rope.number("rope_theta", 1e6),
        mrope_section=_mrope_section(path, rope.numbers("mrope_section", (16, 24, 24)), head_dim),
        vision=VisionConfig(
            # transformers leaves out what is as its own Qwen2.5-VL has it: these are its defaults. A checkpoint whose
            # tower has other sizes is told by the shapes of its tensors.
            depth=vision.count("depth", 32),
            hidden_size=vision.count("hidden_size", 3584),
            intermediate_size=vision.count("intermediate_size", 3420),
            out_hidden_size=vision.count("out_hidden_size", 3584),
            patch_size=vision.count("patch_size", 14),
            temporal_patch_size=vision.count("temporal_patch_size", 2),
            spatial_merge_size=vision.count("spatial_merge_size", 2),
            in_channels=vision.count("in_channels", vision.count("in_chans", 3)),
            activation=str(vision.values.get("hidden_act", "silu")),
            num_heads=vision.count("num_heads", 16),
            window_size=vision.count("window_size", 112),
            full_attention_blocks=vision.numbers("fullatt_block_indexes", (7, 15, 23, 31)),
        ),
        multivector_dim=fields.count("multi_vector_projector_dim", 0) or None,
        matryoshka_dims=matryoshka_dims,
        truncate_dim=_truncate_dim(path, raw.get("truncate_dim"), (*matryoshka_dims, hidden)),
        task_names=_task_names(path, raw.get("task_names") or ()),
        weight_dtype=text.values.get("torch_dtype") or text.values.get("dtype"),
        cautions=dict(fields.mapping("cautions") or {}),
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """Fields of a JSON object, checked as they are read."""

    path: Path
    values: dict[str, Any]

    def count(self, name: str, default: int | None = None) -> int:
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CheckpointInvalidError(f"{self.path}: {name!r} must be a whole number above 0, not {value!r}")
        return value

    def number(self, name: str, default: float) -> float:
        value = self.values.get(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            raise CheckpointInvalidError(f"{self.path}: {name!r} must be a number above 0, not {value!r}")
        return float(value)

    def numbers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        value = self.values.get(name, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(number, int) for number in value):
            raise CheckpointInvalidError(f"{self.path}: {name!r} must be a list of whole numbers, not {value!r}")
        return tuple(value)

    def mapping(self, name: str, required: bool = False) -> dict[str, Any] | None:
        value = self.values.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, dict):
            raise CheckpointInvalidError(f"{self.path}: {name!r} must be an object, not {value!r}")
        return value


def _check_model_type(path: Path, model_type: Any, architecture: str) -> None:
    """Some files name it nowhere at their top level, only the architecture."""
    if model_type is None and architecture in ARCHITECTURES:
        return
    if model_type != MODEL_TYPE:
        raise CheckpointInvalidError(
            f"{path} says model_type {model_type!r} and architecture {architecture or None!r}: expected {MODEL_TYPE!r} "
            f"or, without a model_type, {' or '.join(ARCHITECTURES)} (Jina Embeddings v4)"
        )


def _architecture(path: Path, names: Any) -> str:
    if names is None or names == []:
        return ""
    if not isinstance(names, list):
        raise CheckpointInvalidError(f"{path}: 'architectures' must be a list, not {names!r}")
    return str(names[0])


def _mrope_section(path: Path, sections: tuple[int, ...], head_dim: int) -> tuple[int, ...]:
    if sum(sections) != head_dim // 2:
        raise CheckpointInvalidError(f"{path}: 'mrope_section' must sum up to {head_dim // 2}, not {sum(sections)}")
    return sections


def _matryoshka_dims(path: Path, dims: Any, hidden: int) -> tuple[int, ...]:
    if dims is None:
        # Merged checkpoints don't list them: use the fractions of jina-embeddings-v4, 128 to 2048 of 2048.
        return tuple(hidden // part for part in (16, 8, 4, 2, 1))
    if not isinstance(dims, list) or not all(isinstance(dim, int) and 0 < dim <= hidden for dim in dims):
        raise CheckpointInvalidError(f"{path}: 'matryoshka_dims' must list sizes up to {hidden}, not {dims!r}")
    return tuple(sorted(dims))


def _truncate_dim(path: Path, dim: Any, dims: tuple[int, ...]) -> int | None:
    if dim is not None and (type(dim) is not int or dim not in dims):
        choices = ", ".join(map(str, dict.fromkeys(dims)))
        raise CheckpointInvalidError(f"{path}: 'truncate_dim' must be null or one of {choices}, not {dim!r}")
    return dim


def _task_names(path: Path, names: Any) -> tuple[Task, ...]:
    if not isinstance(names, (list, tuple)):
        raise CheckpointInvalidError(f"{path}: 'task_names' must be a list, not {names!r}")
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise CheckpointInvalidError(f"{path} names tasks that are not known: {unknown}")
    return tuple(names)
