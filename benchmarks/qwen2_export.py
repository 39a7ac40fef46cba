"""The language model of `pocket` with one task merged, as a plain Qwen2 that servers of others load.

Mean pooling and normalisation are as sentence-transformers describes them. Texts need their prompt in front.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.checkpoint.adapters import merge
from jina_embeddings.checkpoint.tensors import load_tensors
from jina_embeddings.types import Task

_PREFIX = "model.language_model."
_TAKEN = [
    "attention_dropout",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
]


def export(folder: Path, task: Task) -> None:
    """Writes it to a new folder, in float32."""
    checkpoint = open_checkpoint("pocket")
    assert checkpoint.adapters is not None
    entries = {name: entry for name, entry in checkpoint.weights.entries.items() if name.startswith(_PREFIX)}
    tensors = {name: tensor.to(torch.float32) for name, tensor in load_tensors(entries)}
    modules = [name.removesuffix(".weight") for name in tensors if "_proj.weight" in name]
    for module, adapter in checkpoint.adapters.load(task, modules).items():
        weight = f"{module}.weight"
        tensors[weight] = merge(tensors[weight], adapter, checkpoint.adapters.scaling)
    folder.mkdir()
    stored = {name.removeprefix(_PREFIX): tensor.contiguous() for name, tensor in tensors.items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(checkpoint.folder / name, folder / name)
    source = json.loads((checkpoint.folder / "config.json").read_text())
    config = {name: source[name] for name in _TAKEN}
    _write(
        folder / "config.json",
        {**config, "architectures": ["Qwen2Model"], "model_type": "qwen2", "torch_dtype": "float32"},
    )
    base = "sentence_transformers.models"
    names = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    _write(
        folder / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"{base}.{kind}"}
            for index, (path, kind) in enumerate(names.items())
        ],
    )
    for path in ("1_Pooling", "2_Normalize"):
        (folder / path).mkdir()
    pooling = {"word_embedding_dimension": config["hidden_size"], "pooling_mode_mean_tokens": True}
    _write(folder / "1_Pooling/config.json", {**pooling, "pooling_mode_cls_token": False})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 4096, "do_lower_case": False})


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1) + "\n")
