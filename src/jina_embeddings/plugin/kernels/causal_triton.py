"""The Triton kernel of `causal`: rotary embedding and causal attention of a small pack; importing this needs Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .rotary_triton import rotated

# Queries and keys of a tile, and the largest pack with so few tiles that each gets twice the threads; the fastest of
# those measured on an H200.
_TILE = 32
MAX_WIDE_TOKENS = 512
_LOG2_E = tl.constexpr(1.4426950408889634)


def attend(
    heads: torch.Tensor,
    table: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
    source: torch.Tensor | None,
    scale: float,
    out: torch.Tensor,
) -> None:
    """Rotates queries and keys, and writes causal attention within each prompt to `out`; `heads` stay as they are.

    heads: contiguous (tokens, queries + 2 * groups, head size): queries, keys and values.
    table: contiguous (tokens, head size), as of `rotary.rotate`.
    first, last: int32 (tokens,): the whole prompts' tokens that a token attends to, from its prompt's first to itself.
    source: int32 (tokens of whole prompts,): the computed token that each of them is; None if these are the same.
    out: contiguous (tokens, queries, head size).
    """
    tokens, queries, size = out.shape
    groups, half = (heads.shape[1] - queries) // 2, size // 2
    block = max(16, triton.next_power_of_2(half))
    _attend[(triton.cdiv(tokens, _TILE), queries)](
        heads,
        table,
        first,
        last,
        source,
        out,
        scale,
        tokens,
        queries,
        groups,
        half,
        block,
        _TILE,
        num_warps=4 if tokens <= MAX_WIDE_TOKENS else 2,
    )


# Triton resolves annotations, and knows those of triton.language only. Without the option, it would compile the kernel
# a second time for numbers of tokens that are multiples of 16.
@triton.jit(do_not_specialize=["tokens"])
def _attend(
    heads: tl.tensor,
    table: tl.tensor,
    first: tl.tensor,
    last: tl.tensor,
    source: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    tokens: tl.tensor,
    queries: tl.constexpr,
    groups: tl.constexpr,
    half: tl.constexpr,
    half_block: tl.constexpr,
    tile: tl.constexpr,
) -> None:
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    column = tl.arange(0, half_block)
    mask = (row < tokens)[:, None] & (column < half)[None, :]
    is_column = (column < half)[None, :]
    stride: tl.constexpr = (queries + 2 * groups) * 2 * half
    head = tl.program_id(1)
    group = queries + head // (queries // groups)
    # 64 bits, though a small pack doesn't need them, so that no size is wrong.
    places = row.to(tl.int64)[:, None]
    angle_ptrs = table + places * (2 * half) + column[None, :]
    cos = tl.load(angle_ptrs, mask=mask, other=0.0).to(tl.float32)
    sin = tl.load(angle_ptrs + half, mask=mask, other=0.0).to(tl.float32)
    query_ptrs = heads + places * stride + head * 2 * half + column[None, :]
    first_query, second_query = rotated(query_ptrs, cos, sin, mask, half)
    first_key = tl.load(first + row, mask=row < tokens, other=2**30)
    last_key = tl.load(last + row, mask=row < tokens, other=-1)
    begin, end = tl.min(first_key, axis=0), tl.max(last_key, axis=0) + 1

    largest = tl.full((tile,), float("-inf"), tl.float32)
    total = tl.zeros((tile,), tl.float32)
    first_sum = tl.zeros((tile, half_block), tl.float32)
    second_sum = tl.zeros((tile, half_block), tl.float32)
    for start in range(begin, end, tile):
        key = start + tl.arange(0, tile)
        is_key = key < end
        token = key if source is None else tl.load(source + key, mask=is_key, other=0)
        rows = token.to(tl.int64)[:, None]
        key_mask = is_key[:, None] & is_column
        key_ptrs = heads + rows * stride + group * 2 * half + column[None, :]
        angle_ptrs = table + rows * (2 * half) + column[None, :]
        cos = tl.load(angle_ptrs, mask=key_mask, other=0.0).to(tl.float32)
        sin = tl.load(angle_ptrs + half, mask=key_mask, other=0.0).to(tl.float32)
        keys, other_keys = rotated(key_ptrs, cos, sin, key_mask, half)
        scores = tl.dot(first_query, tl.trans(keys))
        scores += tl.dot(second_query, tl.trans(other_keys))
        seen = (key[None, :] >= first_key[:, None]) & (key[None, :] <= last_key[:, None])
        scores = tl.where(seen, scores * (scale * _LOG2_E), float("-inf"))
        above = tl.maximum(largest, tl.max(scores, axis=1))
        # A row of which no key was seen yet has no largest score, and -inf - -inf would be NaN.
        shift = tl.where(above == float("-inf"), 0.0, above)
        weights = tl.exp2(scores - shift[:, None])
        decay = tl.exp2(largest - shift)
        largest = above
        total = total * decay + tl.sum(weights, axis=1)
        value_ptrs = key_ptrs + groups * 2 * half
        values = tl.load(value_ptrs, mask=key_mask, other=0.0)
        other_values = tl.load(value_ptrs + half, mask=key_mask, other=0.0)
        weights = weights.to(values.dtype)
        first_sum = first_sum * decay[:, None] + tl.dot(weights, values)
        second_sum = second_sum * decay[:, None] + tl.dot(weights, other_values)

    out_ptrs = out + places * (queries * 2 * half) + head * 2 * half + column[None, :]
    dtype = out.dtype.element_ty
    tl.store(out_ptrs, (first_sum / total[:, None]).to(dtype), mask=mask)
    tl.store(out_ptrs + half, (second_sum / total[:, None]).to(dtype), mask=mask)
