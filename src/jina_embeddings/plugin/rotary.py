"""Rotary positions of a pack: one table for all its layers, applied to queries and keys in place.

Su et al. 2021, https://arxiv.org/abs/2104.09864, in the variant that turns the first half of a head with the second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch


def multimodal_table(rotary: Any, positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cosines, then sines, of each token, (tokens, head size).

    rotary: vLLM's M-RoPE, which says for which part of a head time, row and column count.
    positions: int64 (3, tokens).
    """
    angles = rotary.cos_sin_cache[positions].to(dtype)
    halves = angles.chunk(2, dim=-1)
    sections = rotary.mrope_section
    return torch.cat([part[axis] for half in halves for axis, part in enumerate(half.split(sections, dim=-1))], dim=-1)


def rotate(heads: torch.Tensor, table: torch.Tensor) -> None:
    """Turns every head in place.

    heads: (tokens, heads, head size), which may be a part of a larger tensor with the values of a head side by side.
    table: contiguous (tokens, head size), cosines of the first half, then its sines.
    """
    if heads.is_cuda:
        _kernel()(heads, table)
        return
    cos, sin = table[:, None].chunk(2, dim=-1)
    first, second = heads.chunk(2, dim=-1)
    heads.copy_(torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1))


@cache
def _kernel() -> Callable[[torch.Tensor, torch.Tensor], None]:
    """What turns heads on a GPU: our kernel, twice as fast as vLLM's, or vLLM's where Triton can't be imported."""
    try:
        from .rotary_kernel import turn
    except ImportError:
        return _turn_by_vllm
    return turn


def _turn_by_vllm(heads: torch.Tensor, table: torch.Tensor) -> None:
    from vllm import _custom_ops as ops

    rows = torch.arange(len(heads), device=heads.device)
    ops.rotary_embedding(rows, heads, None, heads.shape[-1], table, True)
