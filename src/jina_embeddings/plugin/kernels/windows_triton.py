"""The Triton kernel of `windows`: rotary embedding and attention within windows; importing this needs Triton."""

from __future__ import annotations

from math import gcd

import torch
import triton
import triton.language as tl

from .rotary_triton import turned

# Most tokens of a window: all scores of a window and a head are in the registers of one program.
MAX_WINDOW = 64
# Heads of a program, or as many as divide their number: it loads a window's cosines and sines once for all of them.
_HEADS = 4
_LOG2_E = tl.constexpr(1.4426950408889634)


def attend(heads: torch.Tensor, table: torch.Tensor, cu_seqlens: torch.Tensor, scale: float, out: torch.Tensor) -> None:
    """Rotates queries and keys, and writes attention within each window to `out`; `heads` stay as they are.

    heads: contiguous (tokens, 3 * num_heads, head size): queries, keys and values.
    table: contiguous (tokens, head size), as of `rotary.rotate`.
    cu_seqlens: int32 (windows + 1,); no window has more than `MAX_WINDOW` tokens.
    out: contiguous (tokens, num_heads, head size).
    """
    num_heads, size = out.shape[1:]
    half, per = size // 2, gcd(num_heads, _HEADS)
    _attend[(len(cu_seqlens) - 1, num_heads // per)](
        heads,
        table,
        cu_seqlens,
        out,
        scale,
        num_heads,
        half,
        max(16, triton.next_power_of_2(half)),
        MAX_WINDOW,
        per,
        num_warps=4,
    )


# Triton resolves annotations, and knows those of triton.language only.
@triton.jit
def _attend(
    heads: tl.tensor,
    table: tl.tensor,
    cu_seqlens: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    num_heads: tl.constexpr,
    half: tl.constexpr,
    half_block: tl.constexpr,
    window: tl.constexpr,
    per: tl.constexpr,
) -> None:
    start = tl.load(cu_seqlens + tl.program_id(0))
    count = tl.load(cu_seqlens + tl.program_id(0) + 1) - start
    row, column = tl.arange(0, window), tl.arange(0, half_block)
    mask = (row < count)[:, None] & (column < half)[None, :]
    # 64 bits: offsets into the heads of a large pack come close to 2^31.
    tokens = (start + row).to(tl.int64)[:, None]
    cos_ptrs = table + tokens * (2 * half) + column[None, :]
    # Converted in each turn, as they take half the registers until then.
    half_cos = tl.load(cos_ptrs, mask=mask, other=0.0)
    half_sin = tl.load(cos_ptrs + half, mask=mask, other=0.0)
    dtype = heads.dtype.element_ty
    width: tl.constexpr = 2 * num_heads * half
    first_head = tl.program_id(1) * per * 2 * half + column[None, :]
    query, other_query, key, other_key, value, other_value = _load(
        heads + tokens * (3 * width) + first_head, width, half, mask
    )

    # Without Triton's own stages, which copy through shared memory: the next head is on its way to registers meanwhile.
    for number in tl.range(per, num_stages=1):
        cos, sin = half_cos.to(tl.float32), half_sin.to(tl.float32)
        first_query, second_query = turned(query, other_query, cos, sin)
        first_key, second_key = turned(key, other_key, cos, sin)
        first, second = value, other_value
        next_ptrs = heads + tokens * (3 * width) + first_head + (number + 1) * 2 * half
        query, other_query, key, other_key, value, other_value = _load(
            next_ptrs, width, half, mask & (number + 1 < per)
        )
        scores = tl.dot(first_query, tl.trans(first_key))
        scores = tl.dot(second_query, tl.trans(second_key), scores)
        scores = tl.where((row < count)[None, :], scores * (scale * _LOG2_E), float("-inf"))
        weights = tl.exp2(scores - tl.max(scores, axis=1)[:, None])
        total = tl.sum(weights, axis=1)[:, None]
        weights = weights.to(dtype)
        out_ptrs = out + tokens * width + first_head + number * 2 * half
        tl.store(out_ptrs, (tl.dot(weights, first) / total).to(dtype), mask=mask)
        tl.store(out_ptrs + half, (tl.dot(weights, second) / total).to(dtype), mask=mask)


@triton.jit
def _load(ptrs: tl.tensor, width: tl.constexpr, half: tl.constexpr, mask: tl.tensor) -> tl.tuple:
    """Both halves of a head's queries, keys and values; ptrs: of the first halves of the queries."""
    query, other_query = tl.load(ptrs, mask=mask, other=0.0), tl.load(ptrs + half, mask=mask, other=0.0)
    key_ptrs, value_ptrs = ptrs + width, ptrs + 2 * width
    key, other_key = tl.load(key_ptrs, mask=mask, other=0.0), tl.load(key_ptrs + half, mask=mask, other=0.0)
    value, other_value = tl.load(value_ptrs, mask=mask, other=0.0), tl.load(value_ptrs + half, mask=mask, other=0.0)
    return query, other_query, key, other_key, value, other_value
