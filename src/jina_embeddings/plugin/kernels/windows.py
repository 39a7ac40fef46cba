"""Attention within the windows of the vision tower, fused with the rotary embedding of queries and keys."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from .checked import checked, is_hopper_with_half_precision, random_rows, relative_error
from .rotary import rotate_in_torch


def window_attention(
    heads: torch.Tensor, table: torch.Tensor, cu_seqlens: torch.Tensor, longest: int, scale: float
) -> torch.Tensor | None:
    """Attention of every token to those of its window, (tokens, num_heads, head size); None if no kernel can do it.

    heads: contiguous (tokens, 3 * num_heads, head size): queries and keys before their rotation, and values.
    table: contiguous (tokens, head size), as of `rotary.rotate`.
    cu_seqlens: int32 (windows + 1,), cumulative lengths; longest: the largest of these lengths.
    """
    kernel = window_kernel(heads.device, heads.dtype, heads.shape[1:]) if heads.is_cuda else None
    if kernel is None or longest > kernel.MAX_WINDOW:
        return None
    out = heads.new_empty(len(heads), heads.shape[1] // 3, heads.shape[2])
    kernel.attend(heads, table, cu_seqlens, scale, out)
    return out


@cache
def window_kernel(device: torch.device, dtype: torch.dtype, shape: tuple[int, ...]) -> Any:
    """The module of our kernel, or None if it can't run on the device or is wrong for heads of this shape."""
    if not is_hopper_with_half_precision(device, dtype):
        return None

    def errors(kernel: Any) -> list[float]:
        # A whole window, one that is cut off by the edge of an image, and one of a single token.
        lengths = [kernel.MAX_WINDOW, 24, 1]
        tokens, (count, size) = sum(lengths), shape
        heads = random_rows(device, dtype, tokens, count * size).view(tokens, count, size)
        angles = random_rows(device, torch.float32, tokens, size // 2)
        table = torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
        bounds = torch.tensor([0, *lengths], device=device).cumsum(0).int()
        out = heads.new_empty(tokens, count // 3, size)
        kernel.attend(heads, table, bounds, size**-0.5, out)
        return [relative_error(out, attention_in_torch(heads.float(), table.float(), lengths))]

    def load() -> Any:
        from . import windows_triton

        return windows_triton

    return checked("windows_triton.attend", load, errors)


def attention_in_torch(heads: torch.Tensor, table: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """What the kernel computes, window by window. heads: (tokens, 3 * num_heads, head size)."""
    heads = heads.clone()
    rotate_in_torch(heads[:, : 2 * heads.shape[1] // 3], table)
    windows = [
        scaled_dot_product_attention(*(part.transpose(0, 1) for part in window.chunk(3, dim=1))).transpose(0, 1)
        for window in heads.split(lengths)  # type: ignore[no-untyped-call]
    ]
    return torch.cat(windows)
