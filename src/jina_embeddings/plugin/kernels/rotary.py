"""Rotary position embeddings of a pack: one cos/sin table for all layers, applied to queries and keys in place.

Su et al. 2021, https://arxiv.org/abs/2104.09864, in the variant that pairs the first half of a head with the second
(GPT-NeoX style).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from ..compat import imported
from .checked import checked, random_rows, relative_error


def multimodal_table(rotary: Any, positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The cosines, then the sines of each token's angles, (tokens, head size).

    rotary: vLLM's M-RoPE, whose sections say which frequencies rotate by time, by row and by column.
    positions: int64 (3, tokens).
    """
    angles = rotary.cos_sin_cache[positions].to(dtype)
    halves = angles.chunk(2, dim=-1)
    sections = rotary.mrope_section
    return torch.cat([part[axis] for half in halves for axis, part in enumerate(half.split(sections, dim=-1))], dim=-1)


def rotate(heads: torch.Tensor, table: torch.Tensor) -> None:
    """Rotates every head in place.

    heads: (tokens, heads, head size), possibly a view; the last dimension is contiguous.
    table: contiguous (tokens, head size) of the same dtype: the cosines, then the sines, as of `multimodal_table`.
    """
    if heads.is_cuda:
        # Our kernel is twice as fast as vLLM's.
        kernel = rotate_kernel(heads.device, heads.dtype, heads.shape[1:], heads.stride()[:2])
        (kernel or _rotate_by_vllm)(heads, table)
    else:
        rotate_in_torch(heads, table)


@cache
def rotate_kernel(device: torch.device, dtype: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Our kernel, or None if it is wrong for heads of this shape and layout.

    shape: heads, head size; strides: elements between tokens, and between heads.
    """

    def errors(turn: Any) -> list[float]:
        # An odd number of tokens, as a program has two; and one more behind them, which must stay unchanged.
        everything = random_rows(device, dtype, 6, strides[0])
        angles = random_rows(device, torch.float32, 5, shape[1] // 2)
        table = torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
        before, place = everything.clone(), ((5, *shape), (*strides, 1))
        heads, expected = everything.as_strided(*place), before.as_strided(*place).to(torch.float32, copy=True)
        rotate_in_torch(expected, table.float())
        turn(heads, table)
        error = relative_error(heads, expected)
        heads.copy_(before.as_strided(*place))
        return [error, float(not torch.equal(everything, before))]

    def load() -> Any:
        from .rotary_triton import turn

        return turn

    return checked("rotary_triton.turn", load, errors)


def rotate_in_torch(heads: torch.Tensor, table: torch.Tensor) -> None:
    """The same as `rotate`, in PyTorch and in the dtype of the heads."""
    cos, sin = table[:, None].chunk(2, dim=-1)
    first, second = heads.chunk(2, dim=-1)
    heads.copy_(torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1))


def _rotate_by_vllm(heads: torch.Tensor, table: torch.Tensor) -> None:
    rows = torch.arange(len(heads), device=heads.device)
    imported("kernels", "rotary_embedding")(rows, heads, None, heads.shape[-1], table, True)
