"""An even width for the MLPs of the vision tower; the numbers that it computes stay."""

from __future__ import annotations

import re

import torch
from torch.nn.functional import pad

# Rows of half a tile of a GPU's matrix product, and a multiple of the 16 bytes that its loads take.
_MULTIPLE = 64
_WIDE = re.compile(r"model\.visual\.blocks\.\d+\.mlp\.(gate_proj|up_proj|down_proj)\.(weight|bias)")


def even_width(width: int) -> int:
    """The width that an MLP of so many values gets: v4's 3,420 are no multiple of eight, which slows every kernel."""
    return -(-width // _MULTIPLE) * _MULTIPLE


def widened(name: str, tensor: torch.Tensor, width: int) -> torch.Tensor:
    """A tensor of the checkpoint, by its newer name, as the tower with that MLP width has it: zeros are added.

    What is added between gate and down is silu(0) * 0, which the down projection multiplies with zeros.
    """
    match = _WIDE.fullmatch(name)
    if match is None or match.groups() == ("down_proj", "bias"):
        return tensor
    if match[1] == "down_proj":
        return pad(tensor, (0, width - tensor.shape[1]))
    return pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, width - tensor.shape[0]))
