"""The Triton kernel of `windows`: rotary embedding and attention within windows; importing this needs Triton."""

from __future__ import annotations

from math import gcd

import torch
import triton
import triton.language as tl

from .rotary_triton import rotated

# Most tokens of a window: all scores of a window and a head are in the registers of one program.
MAX_WINDOW = 64
# Heads of a program, or as many as divide their number: it loads a window's cosines and sines once for all of them.
# Stages: how many heads' values are in shared memory at a time. Measured on an H200 with 16 heads, microseconds for 920
# windows and for the 46 of one page: 247 and 20; one head a program, 437 and 19; 16 heads, 267 and 45.
_HEADS, _STAGES = 4, 2
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
        num_stages=_STAGES,
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
    cos = tl.load(cos_ptrs, mask=mask, other=0.0).to(tl.float32)
    sin = tl.load(cos_ptrs + half, mask=mask, other=0.0).to(tl.float32)
    dtype = heads.dtype.element_ty

    for number in range(per):
        head = (tl.program_id(1) * per + number) * 2 * half + column[None, :]
        query_ptrs = heads + tokens * (6 * num_heads * half) + head
        key_ptrs = query_ptrs + 2 * num_heads * half
        value_ptrs = key_ptrs + 2 * num_heads * half
        first_query, second_query = rotated(query_ptrs, cos, sin, mask, half)
        first_key, second_key = rotated(key_ptrs, cos, sin, mask, half)
        first = tl.load(value_ptrs, mask=mask, other=0.0)
        second = tl.load(value_ptrs + half, mask=mask, other=0.0)
        scores = tl.dot(first_query, tl.trans(first_key))
        scores = tl.dot(second_query, tl.trans(second_key), scores)
        scores = tl.where((row < count)[None, :], scores * (scale * _LOG2_E), float("-inf"))
        weights = tl.exp2(scores - tl.max(scores, axis=1)[:, None])
        total = tl.sum(weights, axis=1)[:, None]
        weights = weights.to(dtype)
        out_ptrs = out + tokens * (2 * num_heads * half) + head
        tl.store(out_ptrs, (tl.dot(weights, first) / total).to(dtype), mask=mask)
        tl.store(out_ptrs + half, (tl.dot(weights, second) / total).to(dtype), mask=mask)
