"""Triton kernels that guess the float8 scale of each token's MLP activations, and recompute tokens that overflow.

A row's scale follows from its largest value, but a tile of the product sees a part of the row only. So the scale is
guessed from a sample of columns. A guess that is ten times too large costs little accuracy, as float8 (e4m3) is a
floating point format; one that is too small overflows, and that token is computed again.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .fp8 import FLOAT8_MAX
from .fp8_triton import MIN_SCALE, store_quantized

# The guess of a row's largest value is MARGIN * mean(sqrt(abs(h)))^2 over SAMPLES evenly spaced columns. A mean of
# squares would be dominated by a single outlier column. With normally distributed gates and ups the largest value is up
# to 64 times mean(sqrt(abs(h)))^2; `benchmarks/float8_guesses.py` measures other distributions.
SAMPLES, MARGIN = 64, 4096.0
# Columns of x and of the weight that one step of the depth_offsets loop multiplies.
_TILE_DEPTH = 128


def guess_scales(
    x: torch.Tensor,
    x_scales: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    scales: torch.Tensor,
    gate_scales: torch.Tensor,
    up_scales: torch.Tensor,
    inverse_scales: torch.Tensor,
    num_overflowed: torch.Tensor,
) -> None:
    """Guesses the scales of silu(x G^T + g) * (x U^T + u), where the weight is G stacked on U, and the bias g on u.

    x: contiguous float8 (tokens, depth); x_scales: float32, one a token.
    weight: contiguous float8 (2 width, depth); weight_scale: float32, either one number or one a row.
    bias: (2 width,), or None for none.
    scales: output, float32, one a token: the guesses; inverse_scales: output, float32, one over each.
    gate_scales, up_scales: outputs, float32, one a token: the factors of the float8 sums x G^T and x U^T. They contain
        weight_scale where that is one number; up_scales is divided by the guess.
    num_overflowed: int32, one element; set to 0.
    """
    tokens, depth = x.shape
    width = len(weight) // 2
    rows = 128
    _guess_scales[(triton.cdiv(tokens, rows),)](
        x,
        x_scales,
        weight,
        weight_scale,
        bias,
        scales,
        gate_scales,
        up_scales,
        inverse_scales,
        num_overflowed,
        tokens,
        width,
        depth,
        width // SAMPLES,
        weight_scale.numel() > 1,
        MARGIN / FLOAT8_MAX,
        rows,
        SAMPLES,
        _TILE_DEPTH,
        num_stages=3,
        num_warps=8,
    )


def recompute_overflowed(
    x: torch.Tensor,
    x_scales: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    excess: torch.Tensor,
    programs: int,
    values: torch.Tensor,
    scales: torch.Tensor,
    num_overflowed: torch.Tensor,
) -> None:
    """Computes tokens again that overflowed, with the scale of their largest value; other tokens are left as they are.

    x, x_scales, weight, weight_scale, bias: as for `guess_scales`.
    excess: contiguous float32 (tokens, tiles); a token has overflowed if its row's sum is above 0.
    programs: how many Triton programs run at a time; use the number of multiprocessors.
    values: in and out, contiguous float8 (tokens, width); scales: in and out, float32, one a token.
    num_overflowed: int32, one element, 0 on entry; becomes the number of tokens that overflowed.
    """
    tokens, tiles = excess.shape
    depth, width = x.shape[1], values.shape[1]
    rows = torch.empty(tokens, device=x.device, dtype=torch.int32)
    # Room for the case that every token has overflowed; rows that aren't needed are neither written nor read.
    exact = torch.empty(tokens, width, device=x.device, dtype=torch.bfloat16)
    _find_overflowed[(triton.cdiv(tokens, 32),)](
        excess, num_overflowed, rows, tokens, tiles, 32, triton.next_power_of_2(tiles)
    )
    _multiply_again[(programs,)](
        x,
        x_scales,
        weight,
        weight_scale,
        bias,
        num_overflowed,
        rows,
        exact,
        width,
        depth,
        weight_scale.numel() > 1,
        programs,
        64,
        64,
        _TILE_DEPTH,
        num_stages=3,
    )
    block = triton.next_power_of_2(width)
    _quantize_again[(programs,)](exact, num_overflowed, rows, values, scales, width, programs, block, num_warps=8)


@triton.jit
def _scale_sums(
    gate: tl.tensor,
    up: tl.tensor,
    row_scales: tl.tensor,
    weight_scales: tl.tensor,
    bias: tl.tensor,
    columns: tl.tensor,
    column_mask: tl.tensor,
    width: tl.tensor,
    per_channel: tl.constexpr,
) -> tl.tensor:
    if per_channel:
        gate *= row_scales[:, None] * tl.load(weight_scales + columns, mask=column_mask, other=0.0)[None, :]
        up *= row_scales[:, None] * tl.load(weight_scales + width + columns, mask=column_mask, other=0.0)[None, :]
    else:
        both = (row_scales * tl.load(weight_scales))[:, None]
        gate *= both
        up *= both
    if bias is not None:
        gate += tl.load(bias + columns, mask=column_mask, other=0.0).to(tl.float32)[None, :]
        up += tl.load(bias + width + columns, mask=column_mask, other=0.0).to(tl.float32)[None, :]
    return gate * tl.sigmoid(gate) * up


# Without the option, Triton would compile it a second time for numbers of tokens that are multiples of 16.
@triton.jit(do_not_specialize=["tokens"])
def _guess_scales(
    x: tl.tensor,
    x_scales: tl.tensor,
    weight: tl.tensor,
    weight_scales: tl.tensor,
    bias: tl.tensor,
    scales: tl.tensor,
    gate_scales: tl.tensor,
    up_scales: tl.tensor,
    inverse_scales: tl.tensor,
    num_overflowed: tl.tensor,
    tokens: tl.tensor,
    width: tl.tensor,
    depth: tl.tensor,
    column_stride: tl.tensor,
    per_channel: tl.constexpr,
    margin: tl.constexpr,
    tile_rows: tl.constexpr,
    samples: tl.constexpr,
    tile_depth: tl.constexpr,
) -> None:
    if tl.program_id(0) == 0:
        tl.store(num_overflowed, 0)
    rows = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    row_mask = rows < tokens
    columns = tl.arange(0, samples) * column_stride
    column_mask = columns < width
    depth_offsets = tl.arange(0, tile_depth)
    gate = tl.zeros((tile_rows, samples), tl.float32)
    up = tl.zeros((tile_rows, samples), tl.float32)
    for step in range(tl.cdiv(depth, tile_depth)):
        k = step * tile_depth + depth_offsets
        depth_mask = k < depth
        x_tile = tl.load(
            x + rows.to(tl.int64)[:, None] * depth + k, mask=row_mask[:, None] & depth_mask[None, :], other=0.0
        )
        weight_ptrs = weight + columns[None, :] * depth + k[:, None]
        gate = tl.dot(x_tile, tl.load(weight_ptrs, mask=depth_mask[:, None], other=0.0), gate)
        up = tl.dot(x_tile, tl.load(weight_ptrs + width * depth, mask=depth_mask[:, None], other=0.0), up)
    row_scales = tl.load(x_scales + rows, mask=row_mask, other=0.0)
    h = _scale_sums(gate, up, row_scales, weight_scales, bias, columns, column_mask, width, per_channel)
    root = tl.sum(tl.sqrt(tl.abs(h)), axis=1) / samples
    scale = tl.maximum(root * root * margin, MIN_SCALE)
    if not per_channel:
        row_scales *= tl.load(weight_scales)
    tl.store(scales + rows, scale, mask=row_mask)
    tl.store(gate_scales + rows, row_scales, mask=row_mask)
    tl.store(up_scales + rows, row_scales / scale, mask=row_mask)
    tl.store(inverse_scales + rows, 1.0 / scale, mask=row_mask)


@triton.jit(do_not_specialize=["tokens"])
def _find_overflowed(
    excess: tl.tensor,
    num_overflowed: tl.tensor,
    rows: tl.tensor,
    tokens: tl.tensor,
    tiles: tl.tensor,
    block_rows: tl.constexpr,
    block_tiles: tl.constexpr,
) -> None:
    row = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    tile = tl.arange(0, block_tiles)
    mask = (row < tokens)[:, None] & (tile < tiles)[None, :]
    total = tl.sum(tl.load(excess + row[:, None] * tiles + tile[None, :], mask=mask, other=0.0), axis=1)
    is_overflowed = (total > 0).to(tl.int32)
    count = tl.sum(is_overflowed, axis=0)
    if count > 0:
        first = tl.atomic_add(num_overflowed, count)
        tl.store(rows + first + tl.cumsum(is_overflowed, axis=0) - 1, row, mask=is_overflowed > 0)


@triton.jit
def _multiply_again(
    x: tl.tensor,
    x_scales: tl.tensor,
    weight: tl.tensor,
    weight_scales: tl.tensor,
    bias: tl.tensor,
    num_overflowed: tl.tensor,
    rows: tl.tensor,
    exact: tl.tensor,
    width: tl.tensor,
    depth: tl.tensor,
    per_channel: tl.constexpr,
    programs: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_columns: tl.constexpr,
    tile_depth: tl.constexpr,
) -> None:
    count = tl.load(num_overflowed)
    num_column_tiles = tl.cdiv(width, tile_columns)
    depth_offsets = tl.arange(0, tile_depth)
    for tile in range(tl.program_id(0), tl.cdiv(count, tile_rows) * num_column_tiles, programs):
        slots = tile // num_column_tiles * tile_rows + tl.arange(0, tile_rows)
        row_mask = slots < count
        row = tl.load(rows + slots, mask=row_mask, other=0).to(tl.int64)
        columns = tile % num_column_tiles * tile_columns + tl.arange(0, tile_columns)
        column_mask = columns < width
        gate = tl.zeros((tile_rows, tile_columns), tl.float32)
        up = tl.zeros((tile_rows, tile_columns), tl.float32)
        for step in range(tl.cdiv(depth, tile_depth)):
            k = step * tile_depth + depth_offsets
            depth_mask = k < depth
            x_tile = tl.load(
                x + row[:, None] * depth + k[None, :], mask=row_mask[:, None] & depth_mask[None, :], other=0.0
            )
            weight_ptrs = weight + columns[None, :] * depth + k[:, None]
            weight_mask = column_mask[None, :] & depth_mask[:, None]
            # Unless partial sums go to float32 registers every 128 products, the sums are up to 1/16 too small.
            gate = tl.dot(x_tile, tl.load(weight_ptrs, mask=weight_mask, other=0.0), gate, max_num_imprecise_acc=128)
            up = tl.dot(
                x_tile, tl.load(weight_ptrs + width * depth, mask=weight_mask, other=0.0), up, max_num_imprecise_acc=128
            )
        row_scales = tl.load(x_scales + row, mask=row_mask, other=0.0)
        h = _scale_sums(gate, up, row_scales, weight_scales, bias, columns, column_mask, width, per_channel)
        exact_ptrs = exact + slots.to(tl.int64)[:, None] * width + columns[None, :]
        tl.store(exact_ptrs, h.to(exact.dtype.element_ty), mask=row_mask[:, None] & column_mask[None, :])


@triton.jit
def _quantize_again(
    exact: tl.tensor,
    num_overflowed: tl.tensor,
    rows: tl.tensor,
    values: tl.tensor,
    scales: tl.tensor,
    width: tl.constexpr,
    programs: tl.constexpr,
    block: tl.constexpr,
) -> None:
    column = tl.arange(0, block)
    column_mask = column < width
    for slot in range(tl.program_id(0), tl.load(num_overflowed), programs):
        row = tl.load(rows + slot).to(tl.int64)
        y = tl.load(exact + tl.cast(slot, tl.int64) * width + column, mask=column_mask, other=0.0).to(tl.float32)
        store_quantized(y, values + row * width, scales + row, column, column_mask)
