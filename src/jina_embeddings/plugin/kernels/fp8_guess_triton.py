"""The Triton kernels that guess each token's scale of an MLP's inside, and do tokens again that it was too small for.

The scale of a row of float8 is known when the row is, and no tile of the product has a whole one. So it is guessed from
some of its columns: float8 (e4m3) is a floating point type, so a scale that is ten times too large costs little.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .fp8_triton import SMALLEST_SCALE, store_quantized

# Of this many columns, evenly spread, the mean of the square roots, squared, times the margin is taken for the largest
# value. A mean square would be too large for the others where a column is far above them. Of normal gates and ups the
# largest is up to 64 times that mean; `benchmarks/float8_guesses.py` has other rows.
SAMPLES, MARGIN = 64, 4096.0
_DEPTH = 128


def guess_scales(
    x: torch.Tensor,
    x_scales: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    scales: torch.Tensor,
    gate_scales: torch.Tensor,
    up_scales: torch.Tensor,
    lost: torch.Tensor,
) -> None:
    """Scales for silu(x G^T) * (x U^T), where the weight is G above U, and what to multiply sums of float8 by for it.

    x: contiguous float8 (tokens, depth); x_scales: float32, one a token.
    weight: contiguous float8 (2 width, depth); weight_scale: float32, one in all or one a row.
    scales: float32, overwritten, one a token.
    gate_scales, up_scales: likewise; without weight_scale where that is one a row.
    lost: int32, one, set to 0.
    """
    tokens, depth = x.shape
    width = len(weight) // 2
    rows = 128
    _guess_scales[(triton.cdiv(tokens, rows),)](
        x,
        x_scales,
        weight,
        weight_scale,
        scales,
        gate_scales,
        up_scales,
        lost,
        tokens,
        width,
        depth,
        width // SAMPLES,
        weight_scale.numel() > 1,
        MARGIN / 448.0,
        rows,
        SAMPLES,
        _DEPTH,
        num_stages=3,
        num_warps=8,
    )


def redo_lost(
    x: torch.Tensor,
    x_scales: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    excess: torch.Tensor,
    programs: int,
    values: torch.Tensor,
    scales: torch.Tensor,
    lost: torch.Tensor,
) -> None:
    """Values and scales anew, by each row's largest value, where the sum of a row of `excess` is over 0.

    x, x_scales, weight, weight_scale: as for `guess_scales`.
    excess: contiguous float32 (tokens, any).
    programs: that run at once, as many as the device has multiprocessors.
    values: contiguous float8 (tokens, width); scales: float32, one a token.
    lost: int32, one, of 0; how many there were.
    """
    tokens, tiles = excess.shape
    depth, width = x.shape[1], values.shape[1]
    rows = torch.empty(tokens, device=x.device, dtype=torch.int32)
    # As many as there may be; those that are not lost are never touched.
    exact = torch.empty(tokens, width, device=x.device, dtype=torch.bfloat16)
    _find_lost[(triton.cdiv(tokens, 32),)](excess, lost, rows, tokens, tiles, 32, triton.next_power_of_2(tiles))
    _multiply_again[(programs,)](
        x,
        x_scales,
        weight,
        weight_scale,
        lost,
        rows,
        exact,
        width,
        depth,
        weight_scale.numel() > 1,
        programs,
        64,
        64,
        _DEPTH,
        num_stages=3,
    )
    block = triton.next_power_of_2(width)
    _quantize_again[(programs,)](exact, lost, rows, values, scales, width, programs, block, num_warps=8)


@triton.jit
def _scale_sums(
    gate: tl.tensor,
    up: tl.tensor,
    row_scales: tl.tensor,
    weight_scales: tl.tensor,
    columns: tl.tensor,
    inside: tl.tensor,
    width: tl.tensor,
    per_channel: tl.constexpr,
) -> tl.tensor:
    if per_channel:
        gate *= row_scales[:, None] * tl.load(weight_scales + columns, mask=inside, other=0.0)[None, :]
        up *= row_scales[:, None] * tl.load(weight_scales + width + columns, mask=inside, other=0.0)[None, :]
    else:
        both = (row_scales * tl.load(weight_scales))[:, None]
        gate *= both
        up *= both
    return gate * tl.sigmoid(gate) * up


# Without the option it would be compiled anew for counts of tokens that sixteen divides.
@triton.jit(do_not_specialize=["tokens"])
def _guess_scales(
    x: tl.tensor,
    x_scales: tl.tensor,
    weight: tl.tensor,
    weight_scales: tl.tensor,
    scales: tl.tensor,
    gate_scales: tl.tensor,
    up_scales: tl.tensor,
    lost: tl.tensor,
    tokens: tl.tensor,
    width: tl.tensor,
    depth: tl.tensor,
    apart: tl.tensor,
    per_channel: tl.constexpr,
    margin: tl.constexpr,
    tile_rows: tl.constexpr,
    samples: tl.constexpr,
    tile_depth: tl.constexpr,
) -> None:
    if tl.program_id(0) == 0:
        tl.store(lost, 0)
    rows = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    known = rows < tokens
    columns = tl.arange(0, samples) * apart
    inside = columns < width
    inner = tl.arange(0, tile_depth)
    gate = tl.zeros((tile_rows, samples), tl.float32)
    up = tl.zeros((tile_rows, samples), tl.float32)
    for step in range(tl.cdiv(depth, tile_depth)):
        place = step * tile_depth + inner
        deep = place < depth
        some = tl.load(x + rows.to(tl.int64)[:, None] * depth + place, mask=known[:, None] & deep[None, :], other=0.0)
        near = weight + columns[None, :] * depth + place[:, None]
        gate = tl.dot(some, tl.load(near, mask=deep[:, None], other=0.0), gate)
        up = tl.dot(some, tl.load(near + width * depth, mask=deep[:, None], other=0.0), up)
    row_scales = tl.load(x_scales + rows, mask=known, other=0.0)
    h = _scale_sums(gate, up, row_scales, weight_scales, columns, inside, width, per_channel)
    root = tl.sum(tl.sqrt(tl.abs(h)), axis=1) / samples
    scale = tl.maximum(root * root * margin, SMALLEST_SCALE)
    if not per_channel:
        row_scales *= tl.load(weight_scales)
    tl.store(scales + rows, scale, mask=known)
    tl.store(gate_scales + rows, row_scales, mask=known)
    tl.store(up_scales + rows, row_scales / scale, mask=known)


@triton.jit(do_not_specialize=["tokens"])
def _find_lost(
    excess: tl.tensor,
    lost: tl.tensor,
    rows: tl.tensor,
    tokens: tl.tensor,
    tiles: tl.tensor,
    block_rows: tl.constexpr,
    block_tiles: tl.constexpr,
) -> None:
    row = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    tile = tl.arange(0, block_tiles)
    known = (row < tokens)[:, None] & (tile < tiles)[None, :]
    total = tl.sum(tl.load(excess + row[:, None] * tiles + tile[None, :], mask=known, other=0.0), axis=1)
    is_lost = (total > 0).to(tl.int32)
    number = tl.sum(is_lost, axis=0)
    if number > 0:
        first = tl.atomic_add(lost, number)
        tl.store(rows + first + tl.cumsum(is_lost, axis=0) - 1, row, mask=is_lost > 0)


@triton.jit
def _multiply_again(
    x: tl.tensor,
    x_scales: tl.tensor,
    weight: tl.tensor,
    weight_scales: tl.tensor,
    lost: tl.tensor,
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
    number = tl.load(lost)
    across = tl.cdiv(width, tile_columns)
    inner = tl.arange(0, tile_depth)
    for tile in range(tl.program_id(0), tl.cdiv(number, tile_rows) * across, programs):
        slots = tile // across * tile_rows + tl.arange(0, tile_rows)
        known = slots < number
        row = tl.load(rows + slots, mask=known, other=0).to(tl.int64)
        columns = tile % across * tile_columns + tl.arange(0, tile_columns)
        inside = columns < width
        gate = tl.zeros((tile_rows, tile_columns), tl.float32)
        up = tl.zeros((tile_rows, tile_columns), tl.float32)
        for step in range(tl.cdiv(depth, tile_depth)):
            place = step * tile_depth + inner
            deep = place < depth
            some = tl.load(x + row[:, None] * depth + place[None, :], mask=known[:, None] & deep[None, :], other=0.0)
            near = weight + columns[None, :] * depth + place[:, None]
            there = inside[None, :] & deep[:, None]
            # Left to the tensor cores' own sums, values that are lost are up to a sixteenth too small.
            gate = tl.dot(some, tl.load(near, mask=there, other=0.0), gate, max_num_imprecise_acc=128)
            up = tl.dot(some, tl.load(near + width * depth, mask=there, other=0.0), up, max_num_imprecise_acc=128)
        row_scales = tl.load(x_scales + row, mask=known, other=0.0)
        h = _scale_sums(gate, up, row_scales, weight_scales, columns, inside, width, per_channel)
        place = exact + slots.to(tl.int64)[:, None] * width + columns[None, :]
        tl.store(place, h.to(exact.dtype.element_ty), mask=known[:, None] & inside[None, :])


@triton.jit
def _quantize_again(
    exact: tl.tensor,
    lost: tl.tensor,
    rows: tl.tensor,
    values: tl.tensor,
    scales: tl.tensor,
    width: tl.constexpr,
    programs: tl.constexpr,
    block: tl.constexpr,
) -> None:
    column = tl.arange(0, block)
    known = column < width
    for slot in range(tl.program_id(0), tl.load(lost), programs):
        row = tl.load(rows + slot).to(tl.int64)
        y = tl.load(exact + tl.cast(slot, tl.int64) * width + column, mask=known, other=0.0).to(tl.float32)
        store_quantized(y, values + row * width, scales + row, column, known)
