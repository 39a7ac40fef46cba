"""The Triton kernel of `rotary`: rotates heads in value on a GPU; importing this needs Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

# The fastest of the numbers measured on an H100.
_TOKENS_PER_PROGRAM = 2


def turn(heads: torch.Tensor, table: torch.Tensor) -> None:
    """`rotary.rotate`, computed in float32 and rounded once.

    heads: (tokens, heads, head size), the last dimension contiguous.
    table: contiguous (tokens, head size).
    """
    tokens, num_heads, size = heads.shape
    _rotary[(triton.cdiv(tokens, _TOKENS_PER_PROGRAM),)](
        heads,
        table,
        tokens,
        heads.stride(0),
        heads.stride(1),
        num_heads,
        size // 2,
        triton.next_power_of_2(num_heads),
        triton.next_power_of_2(size // 2),
        _TOKENS_PER_PROGRAM,
        num_warps=4,
    )


# Triton resolves annotations, and knows those of triton.language only.
@triton.jit
def rotated(ptrs: tl.tensor, cos: tl.tensor, sin: tl.tensor, mask: tl.tensor, half: tl.constexpr) -> tl.tuple:
    """Both halves of rotated heads, for a kernel that reads them; ptrs: of the first halves."""
    first = tl.load(ptrs, mask=mask, other=0.0).to(tl.float32)
    second = tl.load(ptrs + half, mask=mask, other=0.0).to(tl.float32)
    dtype = ptrs.dtype.element_ty
    return (first * cos - second * sin).to(dtype), (second * cos + first * sin).to(dtype)


# Without the option, Triton would compile the kernel a second time for numbers of tokens that are multiples of 16.
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
    tokens_per_program: tl.constexpr,
) -> None:
    head = tl.arange(0, heads_block)[:, None]
    value = tl.arange(0, half_block)
    for step in range(tokens_per_program):
        # 64 bits: offsets into the heads of a large pack of images come close to 2^31.
        token = tl.program_id(0).to(tl.int64) * tokens_per_program + step
        value_mask = (value < half) & (token < tokens)
        cos_ptrs = table + token * (2 * half) + value
        cos = tl.load(cos_ptrs, mask=value_mask, other=0.0).to(tl.float32)[None, :]
        sin = tl.load(cos_ptrs + half, mask=value_mask, other=0.0).to(tl.float32)[None, :]
        first_ptrs = heads + token * token_stride + head * head_stride + value[None, :]
        mask = (head < num_heads) & value_mask[None, :]
        first = tl.load(first_ptrs, mask=mask, other=0.0).to(tl.float32)
        second = tl.load(first_ptrs + half, mask=mask, other=0.0).to(tl.float32)
        tl.store(first_ptrs, (first * cos - second * sin).to(heads.dtype.element_ty), mask=mask)
        tl.store(first_ptrs + half, (second * cos + first * sin).to(heads.dtype.element_ty), mask=mask)
