"""The Triton kernel of `windows`: rotary embedding and attention within windows; importing this needs Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

# Most tokens of a window: all scores of a window and a head are in the registers of one program.
MAX_WINDOW = 64
_LOG2_E = tl.constexpr(1.4426950408889634)


def attend(heads: torch.Tensor, table: torch.Tensor, cu_seqlens: torch.Tensor, scale: float, out: torch.Tensor) -> None:
    """Rotates queries and keys, and writes attention within each window to `out`; `heads` stay as they are.

    heads: contiguous (tokens, 3 * num_heads, head size): queries, keys and values.
    table: contiguous (tokens, head size), as of `rotary.rotate`.
    cu_seqlens: int32 (windows + 1,); no window has more than `MAX_WINDOW` tokens.
    out: contiguous (tokens, num_heads, head size).
    """
    num_heads, size = out.shape[1:]
    # A head is a block of a power of two columns, and one of the rest, since products need powers of two.
    front = 1 << (size.bit_length() - 1)
    rest = max(16, triton.next_power_of_2(size - front))
    _attend[(len(cu_seqlens) - 1, num_heads)](
        heads, table, cu_seqlens, out, scale, num_heads, size, front, rest, MAX_WINDOW, num_warps=4
    )


@triton.jit
def _rotated(
    row_ptrs: tl.tensor, table_ptrs: tl.tensor, columns: tl.tensor, mask: tl.tensor, size: tl.constexpr
) -> tl.tensor:
    """Columns of rotated rows: the first half of a head is paired with the second."""
    half: tl.constexpr = size // 2
    angles = columns % half
    partners = tl.where(columns < half, columns + half, columns - half)
    sign = tl.where(columns < half, -1.0, 1.0)[None, :]
    values = tl.load(row_ptrs + columns[None, :], mask=mask, other=0.0).to(tl.float32)
    others = tl.load(row_ptrs + partners[None, :], mask=mask, other=0.0).to(tl.float32)
    cos = tl.load(table_ptrs + angles[None, :], mask=mask, other=0.0).to(tl.float32)
    sin = tl.load(table_ptrs + half + angles[None, :], mask=mask, other=0.0).to(tl.float32)
    return values * cos + sign * others * sin


# Triton resolves annotations, and knows those of triton.language only.
@triton.jit
def _attend(
    heads: tl.tensor,
    table: tl.tensor,
    cu_seqlens: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    num_heads: tl.constexpr,
    size: tl.constexpr,
    front: tl.constexpr,
    rest: tl.constexpr,
    window: tl.constexpr,
) -> None:
    head = tl.program_id(1)
    start = tl.load(cu_seqlens + tl.program_id(0)).to(tl.int64)
    count = (tl.load(cu_seqlens + tl.program_id(0) + 1) - start).to(tl.int32)
    row = tl.arange(0, window)
    is_row = (row < count)[:, None]
    tokens = start + row.to(tl.int64)
    query_ptrs = heads + tokens[:, None] * (3 * num_heads * size) + head * size
    key_ptrs = query_ptrs + num_heads * size
    value_ptrs = key_ptrs + num_heads * size
    table_ptrs = table + tokens[:, None] * size
    dtype = heads.dtype.element_ty

    column = tl.arange(0, front)
    q = _rotated(query_ptrs, table_ptrs, column, is_row, size).to(dtype)
    k = _rotated(key_ptrs, table_ptrs, column, is_row, size).to(dtype)
    scores = tl.dot(q, tl.trans(k))
    rest_column = front + tl.arange(0, rest)
    rest_mask = is_row & (rest_column < size)[None, :]
    if front < size:
        q = _rotated(query_ptrs, table_ptrs, rest_column, rest_mask, size).to(dtype)
        k = _rotated(key_ptrs, table_ptrs, rest_column, rest_mask, size).to(dtype)
        scores = tl.dot(q, tl.trans(k), scores)

    scores = tl.where((row < count)[None, :], scores * (scale * _LOG2_E), float("-inf"))
    weights = tl.exp2(scores - tl.max(scores, axis=1)[:, None])
    total = tl.sum(weights, axis=1)[:, None]
    weights = weights.to(dtype)
    out_ptrs = out + tokens[:, None] * (num_heads * size) + head * size
    v = tl.load(value_ptrs + column[None, :], mask=is_row, other=0.0)
    tl.store(out_ptrs + column[None, :], (tl.dot(weights, v) / total).to(dtype), mask=is_row)
    if front < size:
        v = tl.load(value_ptrs + rest_column[None, :], mask=rest_mask, other=0.0)
        tl.store(out_ptrs + rest_column[None, :], (tl.dot(weights, v) / total).to(dtype), mask=rest_mask)
