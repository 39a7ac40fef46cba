"""Rotary positions of a pack: one table for all its layers, applied to queries and keys in place.

Su et al. 2021, https://arxiv.org/abs/2104.09864, in the variant that turns the first half of a head with the second.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from .checked import checked, random_rows, relative_error


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
    table: contiguous (tokens, head size) of the same type, cosines of the first half, then its sines.
    """
    if heads.is_cuda:
        # Twice as fast as vLLM's, where it is right.
        kernel = _kernel(heads.device, heads.dtype, heads.shape[1:], heads.stride()[:2])
        (kernel or _turn_by_vllm)(heads, table)
    else:
        _turn_plainly(heads, table)


@cache
def _kernel(device: torch.device, dtype: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Ours, if it turns heads that lie like these, and nothing else.

    shape: heads, head size; strides: values from a token to the next, and from a head to the next.
    """

    def errors(turn: Any) -> list[float]:
        # Tokens that an even number doesn't divide, and one after them, which has to stay as well.
        everything = random_rows(device, dtype, 6, strides[0])
        angles = random_rows(device, torch.float32, 5, shape[1] // 2)
        table = torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
        before, place = everything.clone(), ((5, *shape), (*strides, 1))
        heads, expected = everything.as_strided(*place), before.as_strided(*place).to(torch.float32, copy=True)
        _turn_plainly(expected, table.float())
        turn(heads, table)
        error = relative_error(heads, expected)
        heads.copy_(before.as_strided(*place))
        return [error, float(not torch.equal(everything, before))]

    return checked("rotary_triton", "turn", errors)


def _turn_plainly(heads: torch.Tensor, table: torch.Tensor) -> None:
    cos, sin = table[:, None].chunk(2, dim=-1)
    first, second = heads.chunk(2, dim=-1)
    heads.copy_(torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1))


def _turn_by_vllm(heads: torch.Tensor, table: torch.Tensor) -> None:
    from vllm import _custom_ops as ops

    rows = torch.arange(len(heads), device=heads.device)
    ops.rotary_embedding(rows, heads, None, heads.shape[-1], table, True)
