"""The Triton kernel of `rotary`: heads turned in place, on a GPU; importing this needs Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

# Tokens of a program: the fastest of those measured on an H100.
_TOKENS = 2


def turn(heads: torch.Tensor, table: torch.Tensor) -> None:
    """`rotary.rotate` in float32, rounded once.

    heads: (tokens, heads, head size), values of a head side by side.
    table: (tokens, head size), contiguous.
    """
    tokens, num_heads, size = heads.shape
    _rotary[(triton.cdiv(tokens, _TOKENS),)](
        heads,
        table,
        tokens,
        heads.stride(0),
        heads.stride(1),
        num_heads,
        size // 2,
        triton.next_power_of_2(num_heads),
        triton.next_power_of_2(size // 2),
        _TOKENS,
        num_warps=4,
    )


# Triton looks annotations up; those of tl it knows. Without the option a kernel would be compiled
# anew for counts of tokens that sixteen divides.
@triton.jit(do_not_specialize=["tokens"])
def _rotary(
    heads: tl.tensor,
    table: tl.tensor,
    tokens: tl.tensor,
    token_stride: tl.tensor,
    head_stride: tl.constexpr,
    num_heads: tl.constexpr,
    half: tl.constexpr,
    heads_block: tl.constexpr,
    half_block: tl.constexpr,
    tokens_each: tl.constexpr,
) -> None:
    head = tl.arange(0, heads_block)[:, None]
    place = tl.arange(0, half_block)
    for step in range(tokens_each):
        # 64 bits: the heads of a pack of pictures are as many as a half of what 32 can number.
        token = tl.program_id(0).to(tl.int64) * tokens_each + step
        known = (place < half) & (token < tokens)
        cosines = table + token * (2 * half) + place
        cos = tl.load(cosines, mask=known, other=0.0).to(tl.float32)[None, :]
        sin = tl.load(cosines + half, mask=known, other=0.0).to(tl.float32)[None, :]
        firsts = heads + token * token_stride + head * head_stride + place[None, :]
        mask = (head < num_heads) & known[None, :]
        first = tl.load(firsts, mask=mask, other=0.0).to(tl.float32)
        second = tl.load(firsts + half, mask=mask, other=0.0).to(tl.float32)
        tl.store(firsts, (first * cos - second * sin).to(heads.dtype.element_ty), mask=mask)
        tl.store(firsts + half, (second * cos + first * sin).to(heads.dtype.element_ty), mask=mask)
