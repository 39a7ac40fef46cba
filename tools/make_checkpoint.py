"""Makes an untrained checkpoint with the files, tensor names and shapes of jina-embeddings-v4.

    python tools/make_checkpoint.py FOLDER --layout multi-task --names legacy --shards 2 --dtype bfloat16

Layouts:
    multi-task  base weights, multi-vector projector, and all tasks' LoRA in one adapter file
    merged      one task's LoRA merged into plain Qwen2.5-VL weights; no projector, no adapters

Every tensor's values come from the seed and the tensor's own name, so checkpoints of one seed are the same
model whatever their layout, names, shards or tasks. Weights are drawn so that every part of the model matters
to the vector: a wrong norm, bias, rotary section or adapter shows. The size `v4` is the real model's; it is
written shard by shard and never held in memory as a whole.
"""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save_file

from make_config import (
    IN_CHANNELS,
    PATCH_SIZE,
    SIZES,
    SPATIAL_MERGE_SIZE,
    TASKS,
    TEMPORAL_PATCH_SIZE,
    Layout,
    adapter_json,
    config_json,
    preprocessor_json,
    write_json,
)
from make_tokenizer import write_tokenizer

Shape = tuple[int, ...]
Names = Literal["legacy", "current"]

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

NORM_SPREAD = 0.1
BIAS = 0.1
"""Standard deviations of norm weights around 1 and of biases."""

ATTENTION_GAIN = 1.5
"""Factor of the standard deviation of query and key weights; with 1, attention would be nearly uniform."""

ATTENTION_BIAS = 1.0
"""Standard deviation of query and key biases. With 0.1, like the other biases, a missing key bias changes a cosine by
about 1e-5, less than rounding to bfloat16 does; with 1 by 1e-3. With 2, rounding changes it by 2e-4."""

LORA_GAIN = 0.5
"""Magnitude of an adapter's output relative to the base layer's, with scaling 1."""


def make_checkpoint(
    folder: str | Path,
    *,
    layout: Layout = "multi-task",
    task: str = "retrieval",
    names: Names = "legacy",
    shards: int | None = None,
    dtype: str = "bfloat16",
    size: str = "tiny",
    tasks: Sequence[str] = TASKS,
    lora_alpha: int | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Path:
    """Writes a checkpoint into `folder`, which must be empty or missing, and returns the folder.

    layout: see the module.
    task: whose adapter is merged; of the layout `merged` only.
    names: `legacy` stores `model.layers.*` and `visual.*`, `current` stores `model.language_model.layers.*`
        and `model.visual.*`. Adapters have the published names in both.
    shards: number of weight files; the size's own by default.
    tasks: whose adapters there are.
    lora_alpha: scaling times the rank; the rank by default, so a scaling of 1.
    device: draw the values with that device's own generator: other values, but in seconds.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: weights of two checkpoints must not mix")
    if layout == "merged" and task not in tasks:
        raise ValueError(f"no adapter to merge for the task {task!r}, only for {', '.join(tasks)}")
    numbers = SIZES[size]
    alpha = numbers.lora_rank if lora_alpha is None else lora_alpha
    shapes = tensor_shapes(size, layout)

    ids = write_tokenizer(folder)
    write_json(folder / "config.json", config_json(numbers, ids, layout=layout, dtype=dtype, tasks=tasks))
    write_json(folder / "preprocessor_config.json", preprocessor_json())

    parts = split_shards(shapes, numbers.shards if shards is None else shards)
    files: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        file = "model.safetensors" if len(parts) == 1 else f"model-{number:05}-of-{len(parts):05}.safetensors"
        tensors = {}
        for name in part:
            tensor = draw_tensor(name, shapes[name], seed, device).to(DTYPES[dtype])
            if layout == "merged" and lora_module(name):
                tensor = merge_lora(tensor, name, task, numbers.lora_rank, alpha, seed, device)
            tensors[stored_name(name, names)] = tensor.cpu()
        save_file(tensors, folder / file, metadata={"format": "pt"})
        files |= dict.fromkeys(tensors, file)
    if len(parts) > 1:
        total_size = sum(map(math.prod, shapes.values())) * DTYPES[dtype].itemsize
        index = {"metadata": {"total_size": total_size}, "weight_map": dict(sorted(files.items()))}
        write_json(folder / "model.safetensors.index.json", index)

    if layout == "multi-task":
        adapters = folder / "adapters"
        adapters.mkdir(exist_ok=True)
        loras = {name: draw_tensor(name, shape, seed, device) for name, shape in lora_shapes(size, tasks).items()}
        loras = {name: tensor.to(DTYPES[dtype]).cpu() for name, tensor in loras.items()}
        save_file(loras, adapters / "adapter_model.safetensors", metadata={"format": "pt"})
        write_json(adapters / "adapter_config.json", adapter_json(numbers.lora_rank, alpha))
    return folder


def tensor_shapes(size: str, layout: Layout = "multi-task") -> dict[str, Shape]:
    """Every tensor of the weight files and its shape, under current names."""
    s = SIZES[size]
    shapes: dict[str, Shape] = {}

    def linear(name: str, num_out: int, num_in: int, bias: bool) -> None:
        shapes[f"{name}.weight"] = (num_out, num_in)
        if bias:
            shapes[f"{name}.bias"] = (num_out,)

    def mlp(name: str, hidden: int, inner: int, bias: bool) -> None:
        linear(f"{name}.gate_proj", inner, hidden, bias)
        linear(f"{name}.up_proj", inner, hidden, bias)
        linear(f"{name}.down_proj", hidden, inner, bias)

    text = "model.language_model"
    kv_width = s.hidden // s.heads * s.kv_heads
    shapes[f"{text}.embed_tokens.weight"] = (s.vocabulary, s.hidden)
    for i in range(s.layers):
        layer = f"{text}.layers.{i}"
        shapes[f"{layer}.input_layernorm.weight"] = (s.hidden,)
        linear(f"{layer}.self_attn.q_proj", s.hidden, s.hidden, bias=True)
        linear(f"{layer}.self_attn.k_proj", kv_width, s.hidden, bias=True)
        linear(f"{layer}.self_attn.v_proj", kv_width, s.hidden, bias=True)
        linear(f"{layer}.self_attn.o_proj", s.hidden, s.hidden, bias=False)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (s.hidden,)
        mlp(f"{layer}.mlp", s.hidden, s.mlp, bias=False)
    shapes[f"{text}.norm.weight"] = (s.hidden,)

    vision, width = "model.visual", s.vision_hidden
    shapes[f"{vision}.patch_embed.proj.weight"] = (
        width,
        IN_CHANNELS,
        TEMPORAL_PATCH_SIZE,
        PATCH_SIZE,
        PATCH_SIZE,
    )
    for i in range(s.vision_depth):
        block = f"{vision}.blocks.{i}"
        shapes[f"{block}.norm1.weight"] = (width,)
        linear(f"{block}.attn.qkv", 3 * width, width, bias=True)
        linear(f"{block}.attn.proj", width, width, bias=True)
        shapes[f"{block}.norm2.weight"] = (width,)
        mlp(f"{block}.mlp", width, s.vision_mlp, bias=True)
    merged_width = width * SPATIAL_MERGE_SIZE**2
    shapes[f"{vision}.merger.ln_q.weight"] = (width,)
    linear(f"{vision}.merger.mlp.0", merged_width, merged_width, bias=True)
    linear(f"{vision}.merger.mlp.2", s.hidden, merged_width, bias=True)

    if layout == "multi-task":
        linear("multi_vector_projector", s.projector, s.hidden, bias=True)
    return shapes


def lora_module(name: str) -> str | None:
    """Name in the adapter file of the module that the weight `name` belongs to; None where no LoRA is."""
    module, _, kind = name.rpartition(".")
    text_linear = module.startswith("model.language_model.layers.") and module.endswith("_proj")
    if kind == "weight" and (text_linear or module == "multi_vector_projector"):
        return f"base_model.model.{module}"
    return None


def lora_shapes(size: str, tasks: Sequence[str] = TASKS) -> dict[str, Shape]:
    """Every tensor of the adapter file: A (rank, in) and B (out, rank) for each module and task."""
    rank = SIZES[size].lora_rank
    shapes: dict[str, Shape] = {}
    for name, shape in tensor_shapes(size).items():
        if module := lora_module(name):
            for task in tasks:
                shapes[f"{module}.lora_A.{task}.weight"] = (rank, shape[1])
                shapes[f"{module}.lora_B.{task}.weight"] = (shape[0], rank)
    return shapes


def draw_tensor(name: str, shape: Shape, seed: int, device: str | None = None) -> torch.Tensor:
    """The float32 values of one tensor: normal, from the seed and the current or adapter name alone.

    device: whose generator draws; numpy's by default, which draws the same everywhere.
    """
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    own_seed = int.from_bytes(digest[:8], "little")
    if device is None:
        values = torch.from_numpy(np.random.default_rng(own_seed).standard_normal(shape, dtype=np.float32))
    else:
        generator = torch.Generator(device).manual_seed(own_seed >> 1)
        values = torch.randn(shape, generator=generator, device=device)
    *_, module, kind = name.split(".")
    if module == "embed_tokens":
        return values
    if module.endswith(("norm", "norm1", "norm2", "ln_q")):
        return values.mul_(NORM_SPREAD).add_(1)
    values *= BIAS if kind == "bias" else math.prod(shape[1:]) ** -0.5
    if ".lora_B." in name:
        values *= LORA_GAIN
    # The vision tower stacks query, key and value in one linear.
    query_and_key = {"q_proj": shape[0], "k_proj": shape[0], "qkv": 2 * shape[0] // 3}.get(module, 0)
    values[:query_and_key] *= ATTENTION_BIAS / BIAS if kind == "bias" else ATTENTION_GAIN
    return values


def merge_lora(
    weight: torch.Tensor, name: str, task: str, rank: int, alpha: int, seed: int, device: str | None = None
) -> torch.Tensor:
    """`weight` (out, in) plus alpha / rank times B A of the task, added in float32, in the dtype of `weight`.

    A and B are rounded to that dtype first, as the multi-task layout stores them.
    """
    module = lora_module(name)
    num_out, num_in = weight.shape
    a = draw_tensor(f"{module}.lora_A.{task}.weight", (rank, num_in), seed, device).to(weight.dtype).float()
    b = draw_tensor(f"{module}.lora_B.{task}.weight", (num_out, rank), seed, device).to(weight.dtype).float()
    return (weight.float() + alpha / rank * (b @ a)).to(weight.dtype)


def stored_name(name: str, names: Names) -> str:
    """The current name `name` in the wanted generation of names."""
    if names == "legacy":
        return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
    return name


def split_shards(shapes: Mapping[str, Shape], shards: int) -> list[list[str]]:
    """Names in `shards` runs of about the same number of values, none of them empty."""
    if not 1 <= shards <= len(shapes):
        raise ValueError(f"shards is {shards}; {len(shapes)} tensors make 1 to {len(shapes)} shards")
    total = sum(map(math.prod, shapes.values()))
    parts: list[list[str]] = [[]]
    done = 0
    for i, (name, shape) in enumerate(shapes.items()):
        full = done * shards >= total * len(parts) or len(shapes) - i == shards - len(parts)
        if parts[-1] and len(parts) < shards and full:
            parts.append([])
        parts[-1].append(name)
        done += math.prod(shape)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=["multi-task", "merged"], default="multi-task")
    parser.add_argument("--task", choices=TASKS, default="retrieval", help="whose adapter is merged")
    parser.add_argument("--names", choices=["legacy", "current"], default="legacy")
    parser.add_argument("--shards", type=int, help="weight files (default: 1 for tiny, 4 for v4)")
    parser.add_argument("--dtype", choices=list(DTYPES), default="bfloat16")
    parser.add_argument("--size", choices=list(SIZES), default="tiny")
    parser.add_argument("--tasks", default=",".join(TASKS), help="whose adapters there are, comma-separated")
    parser.add_argument("--lora-alpha", type=int, help="scaling times the rank (default: the rank)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="draw the values there, such as cuda (default: numpy, the same everywhere)")
    options = vars(parser.parse_args())
    options["tasks"] = options["tasks"].split(",")
    print(make_checkpoint(**options))


if __name__ == "__main__":
    main()
