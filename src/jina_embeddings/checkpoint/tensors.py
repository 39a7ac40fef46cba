"""The tensors that a checkpoint must have by its config.json, and those that its files have.

There are two generations of names: `model.layers.*` and `visual.*` of older transformers, and
`model.language_model.layers.*` and `model.visual.*` of transformers 5. The newer ones are called canonical here.
"""

from __future__ import annotations

import json
import math
import operator
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointInvalidError, CheckpointNotFoundError
from .config import ModelConfig, read_json

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]

PROJECTOR = "multi_vector_projector"
# Bytes of an element of each safetensors dtype.
_ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
_LAYER = re.compile(r"model\.(language_model\.layers|visual\.blocks)\.\d+\.")
_IGNORED = ("lm_head.", "model.language_model.lm_head.")


def canonical(name: str) -> str:
    """The name of a base weight in transformers 5, from a name of either generation."""
    if name.startswith("visual."):
        return "model." + name
    if name.startswith("model.") and not name.startswith(("model.language_model.", "model.visual.")):
        return "model.language_model." + name.removeprefix("model.")
    return name


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file: the file, the tensor's name in it, its shape, its safetensors dtype, and the byte of the
    file where it starts.
    """

    file: Path
    stored_name: str
    shape: Shape
    dtype: str
    start: int

    @property
    def num_values(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.num_values * _ITEM_BYTES.get(self.dtype, 1)


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of one safetensors file by stored name, after a check that the file is complete.

    The format is 8 bytes of header length (little-endian), a JSON header, and the data that it describes.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            (length,) = struct.unpack("<Q", prefix) if len(prefix) == 8 else (size,)
            if length > size - 8:
                raise CheckpointInvalidError(f"{path} is cut short ({size} bytes): download it again")
            header = json.loads(file.read(length))
    except FileNotFoundError as error:
        raise CheckpointInvalidError(f"{path} is missing: the checkpoint is not whole") from error
    except (OSError, ValueError) as error:
        raise CheckpointInvalidError(f"{path} is not a safetensors file: {error}") from error
    if not isinstance(header, dict) or not header.keys() - {"__metadata__"}:
        raise CheckpointInvalidError(f"{path} holds no tensors")
    return {
        name: _entry(path, name, description, 8 + length, size)
        for name, description in header.items()
        if name != "__metadata__"
    }


def _entry(path: Path, name: str, description: Any, data_start: int, size: int) -> TensorEntry:
    try:
        start, stop = map(operator.index, description["data_offsets"])
        shape = tuple(map(operator.index, description["shape"]))
        entry = TensorEntry(path, name, shape, str(description["dtype"]), data_start + start)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointInvalidError(f"{path}: the header describes tensor {name!r} badly ({error})") from error
    if data_start + stop > size:
        raise CheckpointInvalidError(
            f"{path} is cut short: tensor {name!r} ends at byte {data_start + stop}, the file has {size}: "
            "download it again"
        )
    if entry.dtype in _ITEM_BYTES and stop - start != entry.num_bytes:
        raise CheckpointInvalidError(
            f"{path}: tensor {name!r} has {stop - start} bytes, {entry.dtype} {list(entry.shape)} calls for "
            f"{entry.num_bytes}"
        )
    return entry


def weight_files(folder: Path) -> list[Path]:
    """The files of the base weights: the shards that the index names, or model.safetensors."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        names = list(weight_map.values()) if isinstance(weight_map, dict) else []
        if not names or not all(isinstance(name, str) for name in names):
            raise CheckpointInvalidError(f"{index} has no weight_map from tensors to files")
        return [folder / name for name in sorted(set(names))]
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    raise CheckpointNotFoundError(
        f"{folder} has neither model.safetensors nor model.safetensors.index.json: is it a checkpoint folder?"
    )


class WeightStore:
    """The base weights of one checkpoint folder by canonical name; headers and tensors are read when needed."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def entries(self) -> dict[str, TensorEntry]:
        found: dict[str, TensorEntry] = {}
        for path in weight_files(self.folder):
            for name, entry in read_header(path).items():
                if not name.startswith(_IGNORED):
                    found[canonical(name)] = entry
        return found

    @property
    def num_bytes(self) -> int:
        return sum(entry.num_bytes for entry in self.entries.values())

    @property
    def num_values(self) -> int:
        return sum(entry.num_values for entry in self.entries.values())

    def verify(self, config: ModelConfig) -> None:
        """Raises CheckpointInvalidError for a tensor that is missing, has another shape, or belongs to no layer."""
        expected = expected_shapes(config)
        for name, entry in self.entries.items():
            if name not in expected and _LAYER.match(name):
                raise CheckpointInvalidError(
                    f"{entry.file}: tensor {entry.stored_name!r} is of a layer that config.json does not have"
                )
        for name, shape in expected.items():
            found = self.entries.get(name)
            if found is None:
                raise CheckpointInvalidError(
                    f"{self.folder}: tensor {name!r} {list(shape)} is missing from {_file_names(self.folder)}"
                )
            if found.shape != shape:
                raise CheckpointInvalidError(
                    f"{found.file}: tensor {found.stored_name!r} has shape {list(found.shape)}, "
                    f"config.json calls for {list(shape)}"
                )

    def load(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Reads every tensor, one at a time: (canonical name, tensor in its stored dtype)."""
        yield from load_tensors(self.entries)


def load_tensors(entries: dict[str, TensorEntry]) -> Iterator[tuple[str, torch.Tensor]]:
    """Reads the tensors of these entries, file by file, as (key, tensor); keys are those of `entries`."""
    from safetensors import safe_open

    by_file: dict[Path, list[str]] = {}
    for key, entry in entries.items():
        by_file.setdefault(entry.file, []).append(key)
    for path, keys in by_file.items():
        with safe_open(path, framework="pt") as file:
            for key in keys:
                yield key, file.get_tensor(entries[key].stored_name)


def _file_names(folder: Path) -> str:
    return ", ".join(path.name for path in weight_files(folder))


def projection_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """(out, in) of each linear layer that has an adapter, by its name within a decoder layer."""
    heads = config.num_heads * config.head_dim
    kv_heads = config.num_kv_heads * config.head_dim
    hidden, mlp = config.hidden_size, config.intermediate_size
    return {
        "self_attn.q_proj": (heads, hidden),
        "self_attn.k_proj": (kv_heads, hidden),
        "self_attn.v_proj": (kv_heads, hidden),
        "self_attn.o_proj": (hidden, heads),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }


def expected_shapes(config: ModelConfig) -> dict[str, Shape]:
    """The shape of every base tensor that a checkpoint with this configuration has, by canonical name."""
    shapes: dict[str, Shape] = {
        "model.language_model.embed_tokens.weight": (config.vocab_size, config.hidden_size),
        "model.language_model.norm.weight": (config.hidden_size,),
    }
    for layer in range(config.num_layers):
        prefix = f"model.language_model.layers.{layer}."
        for name, (out, width) in projection_shapes(config).items():
            shapes[f"{prefix}{name}.weight"] = (out, width)
            if name.endswith(("q_proj", "k_proj", "v_proj")):
                shapes[f"{prefix}{name}.bias"] = (out,)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{prefix}{norm}.weight"] = (config.hidden_size,)
    shapes.update(_vision_shapes(config))
    if config.multivector_dim is not None:
        shapes[f"{PROJECTOR}.weight"] = (config.multivector_dim, config.hidden_size)
        shapes[f"{PROJECTOR}.bias"] = (config.multivector_dim,)
    return shapes


def _vision_shapes(config: ModelConfig) -> dict[str, Shape]:
    vision = config.vision
    hidden, mlp = vision.hidden_size, vision.intermediate_size
    patch = (vision.in_channels, vision.temporal_patch_size, vision.patch_size, vision.patch_size)
    merged = hidden * vision.spatial_merge_size**2
    shapes: dict[str, Shape] = {"model.visual.patch_embed.proj.weight": (hidden, *patch)}
    linears = {
        "attn.qkv": (3 * hidden, hidden),
        "attn.proj": (hidden, hidden),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }
    for block in range(vision.depth):
        prefix = f"model.visual.blocks.{block}."
        for name, (out, width) in linears.items():
            shapes[f"{prefix}{name}.weight"] = (out, width)
            shapes[f"{prefix}{name}.bias"] = (out,)
        shapes[f"{prefix}norm1.weight"] = shapes[f"{prefix}norm2.weight"] = (hidden,)
    shapes["model.visual.merger.ln_q.weight"] = (hidden,)
    for name, (out, width) in {"mlp.0": (merged, merged), "mlp.2": (vision.out_hidden_size, merged)}.items():
        shapes[f"model.visual.merger.{name}.weight"] = (out, width)
        shapes[f"model.visual.merger.{name}.bias"] = (out,)
    return shapes
