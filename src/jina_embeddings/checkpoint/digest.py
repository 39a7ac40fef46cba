"""A digest of what a checkpoint computes with: a copy in another folder has the same, other weights another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from .adapters import AdapterSet
from .config import ModelConfig
from .tensors import TensorEntry, WeightStore

_SAMPLE_BYTES = 4096
"""Read of the start and of the end of each tensor: training changes all of a tensor, and whole weights take long."""


def digest_of(folder: Path, config: ModelConfig, weights: WeightStore, adapters: AdapterSet | None) -> str:
    """A digest of the weights, whatever files they are divided into and whatever generation of names they have, of the
    adapters, the tokenizer, and of those numbers of config.json that no shape shows.
    """
    digest = blake2b(digest_size=16)
    vision = config.vision
    # By hand: fields that a later version adds must not change the digest.
    numbers = [
        *(config.num_heads, config.num_kv_heads, config.norm_eps, config.rope_theta, config.mrope_section),
        *(vision.num_heads, vision.window_size, vision.full_attention_blocks, vision.patch_size),
        adapters.scaling if adapters is not None else None,
    ]
    digest.update(json.dumps(numbers).encode())
    for name in ("tokenizer.json", "preprocessor_config.json"):
        path = folder / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    entries: dict[Any, TensorEntry] = dict(weights.entries)
    if adapters is not None:
        for (task, module), pair in adapters.pairs.items():
            entries |= {f"{task} {module} {side}": entry for side, entry in zip("AB", pair, strict=True)}
    for sample in _samples(entries):
        digest.update(sample)
    return digest.hexdigest()


def _samples(entries: dict[str, TensorEntry]) -> Iterator[bytes]:
    files: dict[Path, IO[bytes]] = {}
    try:
        for name, entry in sorted(entries.items()):
            yield f"{name} {entry.dtype} {list(entry.shape)}".encode()
            file = files.get(entry.file) or files.setdefault(entry.file, entry.file.open("rb"))
            file.seek(entry.start)
            yield file.read(min(entry.num_bytes, _SAMPLE_BYTES))
            if entry.num_bytes > _SAMPLE_BYTES:
                file.seek(entry.start + entry.num_bytes - _SAMPLE_BYTES)
                yield file.read(_SAMPLE_BYTES)
    finally:
        for file in files.values():
            file.close()
