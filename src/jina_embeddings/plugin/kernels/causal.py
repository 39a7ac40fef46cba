"""Causal attention within the prompts of a small pack, fused with the rotary embedding of queries and keys.

FlashAttention needs a second kernel that plans its work, and shared prefixes gathered before it, which together take
longer than the attention of a few hundred tokens.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from .checked import checked, is_hopper_with_half_precision, random_rows, relative_error
from .rotary import rotate_in_torch


def causal_attention(
    heads: torch.Tensor,
    table: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
    source: torch.Tensor | None,
    *,
    queries: int,
    scale: float,
) -> torch.Tensor | None:
    """Attention of every token to those before it in its prompt, (tokens, queries, head size); None without a kernel.

    The arguments are those of `causal_triton.attend`; queries: the number of query heads.
    """
    kernel = causal_kernel(heads.device, heads.dtype, heads.shape[1:], queries) if heads.is_cuda else None
    if kernel is None:
        return None
    out = heads.new_empty(len(heads), queries, heads.shape[2])
    kernel.attend(heads, table, first, last, source, scale, out)
    return out


@cache
def causal_kernel(device: torch.device, dtype: torch.dtype, shape: tuple[int, ...], queries: int) -> Any:
    """The module of our kernel, or None if it can't run on the device or is wrong for heads of this shape."""
    if not is_hopper_with_half_precision(device, dtype):
        return None

    def errors(kernel: Any) -> list[float]:
        return [*errors_with(kernel, 150), *errors_with(kernel, kernel.MAX_WIDE_TOKENS)]

    def errors_with(kernel: Any, longest: int) -> list[float]:
        # The second prompt begins with the first 20 tokens of the first; the third is longer than a tile.
        lengths, shared = [30, 27, longest, 1], [0, 20, 0, 0]
        rows = [length - count for length, count in zip(lengths, shared, strict=True)]
        source = torch.cat([torch.arange(30), torch.arange(20), torch.arange(30, sum(rows))])
        tokens, (count, size) = sum(rows), shape
        heads = random_rows(device, dtype, tokens, count * size).view(tokens, count, size)
        angles = random_rows(device, torch.float32, tokens, size // 2)
        table = torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
        found = []
        for own in (source, None):
            parts = lengths if own is not None else rows
            out = heads.new_empty(tokens, queries, size)
            first, last = (part.int().to(device) for part in attended(parts, shared if own is not None else [0] * 4))
            index = None if own is None else own.int().to(device)
            kernel.attend(heads, table, first, last, index, size**-0.5, out)
            found.append(relative_error(out, attention_in_torch(heads.float(), table.float(), parts, own, queries)))
        return found

    def load() -> Any:
        from . import causal_triton

        return causal_triton

    return checked("causal_triton.attend", load, errors)


def attended(lengths: list[int], shared: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """`first` and `last` of the computed tokens of prompts with these lengths; shared: tokens that are left out."""
    ends = torch.tensor(lengths).cumsum(0).tolist()
    parts = list(zip(lengths, shared, ends, strict=True))
    first = torch.cat([torch.full((length - count,), end - length) for length, count, end in parts])
    last = torch.cat([torch.arange(end - length + count, end) for length, count, end in parts])
    return first, last


def attention_in_torch(
    heads: torch.Tensor, table: torch.Tensor, lengths: list[int], source: torch.Tensor | None, queries: int
) -> torch.Tensor:
    """What the kernel computes, prompt by prompt. source: int64 (tokens of whole prompts,), or None."""
    heads = heads.clone()
    groups = (heads.shape[1] - queries) // 2
    rotate_in_torch(heads[:, : queries + groups], table)
    whole = heads if source is None else heads[source]
    out = torch.empty_like(heads[:, :queries])
    indices = torch.arange(len(heads)) if source is None else source
    for index, prompt in zip(indices.split(lengths), whole.split(lengths), strict=True):  # type: ignore[no-untyped-call]
        query, key, value = (part.transpose(0, 1) for part in prompt.split([queries, groups, groups], dim=1))
        key, value = (part.repeat_interleave(queries // groups, dim=0) for part in (key, value))
        out[index] = scaled_dot_product_attention(query, key, value, is_causal=True).transpose(0, 1)
    return out
