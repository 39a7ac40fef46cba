"""The Triton kernels of `fp8`, for GPUs that have tensor memory access; importing this needs Triton.

float8 is e4m3 throughout, whose largest value is 448.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

# Kernels may read globals of this type only.
_LARGEST = tl.constexpr(448.0)
# vLLM's, so that a row of zeros has a scale.
_SMALLEST_SCALE = tl.constexpr(1 / (448.0 * 512.0))

# Of a tile of the gated product: rows, columns of each half, and what a step sums. The fastest of those measured on an
# H100, as are its stages, warps, and the tiles of one column that run side by side.
_ROWS, _COLUMNS, _DEPTH = 128, 128, 128
_STAGES, _WARPS, _GROUP = 3, 8, 16


def quantize(x: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> None:
    """`fp8.quantized` of x into values and scales.

    x, values: contiguous (tokens, width), values of float8; scales: float32 (tokens, 1).
    """
    tokens, width = x.shape
    block = triton.next_power_of_2(width)
    _quantize[(tokens,)](x, values, scales, width, block, num_warps=8 if block > 4096 else 4)


def norm_quantize(
    residual: torch.Tensor,
    update: torch.Tensor | None,
    weight: torch.Tensor,
    epsilon: float,
    values: torch.Tensor,
    scales: torch.Tensor,
) -> None:
    """Adds the update to the residual in place, and puts the norm of that into values and scales.

    residual, update, values: contiguous (tokens, width), values of float8; scales: float32 (tokens, 1).
    """
    tokens, width = residual.shape
    block = triton.next_power_of_2(width)
    _norm_quantize[(tokens,)](residual, update, weight, epsilon, values, scales, width, block, num_warps=4)


def gated(
    x: torch.Tensor,
    scales: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    programs: int,
    out: torch.Tensor,
) -> None:
    """silu(x G^T) * (x U^T) into `out`, where the weight is G above U.

    x: contiguous float8 (tokens, depth); scales: float32, one a token.
    weight: contiguous float8 (2 width, depth); weight_scale: float32, one in all or one a row.
    programs: that run at once, as many as the device has multiprocessors; each takes tiles until none is left.
    out: contiguous (tokens, width), overwritten.
    """
    width = out.shape[1]
    _gated_gemm[(programs,)](
        TensorDescriptor.from_tensor(x, [_ROWS, _DEPTH]),
        TensorDescriptor.from_tensor(weight, [_COLUMNS, _DEPTH]),
        TensorDescriptor.from_tensor(out, [_ROWS, _COLUMNS]),
        scales,
        weight_scale,
        len(x),
        width,
        x.shape[1],
        weight_scale.numel() > 1,
        programs,
        _ROWS,
        _COLUMNS,
        _DEPTH,
        _GROUP,
        num_stages=_STAGES,
        num_warps=_WARPS,
    )


# Triton looks annotations up; those of tl it knows.
@triton.jit
def _store_quantized(
    y: tl.tensor, values: tl.tensor, scale_place: tl.tensor, column: tl.tensor, known: tl.tensor
) -> None:
    scale = tl.maximum(tl.max(tl.abs(y), axis=0) / _LARGEST, _SMALLEST_SCALE)
    tl.store(scale_place, scale)
    scaled = tl.minimum(tl.maximum(y * (1.0 / scale), -_LARGEST), _LARGEST)
    tl.store(values + column, scaled.to(tl.float8e4nv), mask=known)


@triton.jit
def _quantize(x: tl.tensor, values: tl.tensor, scales: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    known = column < width
    y = tl.load(x + row * width + column, mask=known, other=0.0).to(tl.float32)
    _store_quantized(y, values + row * width, scales + row, column, known)


@triton.jit
def _norm_quantize(
    residual: tl.tensor,
    update: tl.tensor,
    weight: tl.tensor,
    epsilon: tl.tensor,
    values: tl.tensor,
    scales: tl.tensor,
    width: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    known = column < width
    place = residual + row * width + column
    y = tl.load(place, mask=known, other=0.0).to(tl.float32)
    if update is not None:
        y += tl.load(update + row * width + column, mask=known, other=0.0).to(tl.float32)
        rounded = y.to(residual.dtype.element_ty)
        tl.store(place, rounded, mask=known)
        y = rounded.to(tl.float32)
    factors = tl.load(weight + column, mask=known, other=0.0).to(tl.float32)
    y = y * tl.rsqrt(tl.sum(y * y, axis=0) / width + epsilon) * factors
    _store_quantized(y, values + row * width, scales + row, column, known)


# Without the option it would be compiled anew for counts of tokens that sixteen divides.
@triton.jit(do_not_specialize=["tokens"])
def _gated_gemm(
    x: tl.tensor,
    weight: tl.tensor,
    out: tl.tensor,
    scales: tl.tensor,
    weight_scales: tl.tensor,
    tokens: tl.tensor,
    width: tl.tensor,
    depth: tl.tensor,
    per_channel: tl.constexpr,
    programs: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_columns: tl.constexpr,
    tile_depth: tl.constexpr,
    group: tl.constexpr,
) -> None:
    tiles_down = tl.cdiv(tokens, tile_rows)
    tiles_across = tl.cdiv(width, tile_columns)
    steps = tl.cdiv(depth, tile_depth)
    for tile in tl.range(tl.program_id(0), tiles_down * tiles_across, programs, flatten=False):
        # Groups of tiles that share columns run side by side, so that their weights are in the cache.
        first_down = tile // (group * tiles_across) * group
        in_group = min(tiles_down - first_down, group)
        within = tile % (group * tiles_across)
        row = (first_down + within % in_group) * tile_rows
        column = within // in_group * tile_columns
        gate = tl.zeros((tile_rows, tile_columns), tl.float32)
        up = tl.zeros((tile_rows, tile_columns), tl.float32)
        for step in range(steps):
            some = x.load([row, step * tile_depth])
            gate_weight = weight.load([column, step * tile_depth])
            up_weight = weight.load([width + column, step * tile_depth])
            gate = tl.dot(some, gate_weight.T, gate)
            up = tl.dot(some, up_weight.T, up)
        rows = row + tl.arange(0, tile_rows)
        row_scales = tl.load(scales + rows, mask=rows < tokens, other=0.0)[:, None]
        if per_channel:
            columns = column + tl.arange(0, tile_columns)
            inside = columns < width
            gate *= row_scales * tl.load(weight_scales + columns, mask=inside, other=0.0)[None, :]
            up *= row_scales * tl.load(weight_scales + width + columns, mask=inside, other=0.0)[None, :]
        else:
            both = row_scales * tl.load(weight_scales)
            gate *= both
            up *= both
        # Rows and columns beyond the end aren't stored; of the gate such columns are the first of up.
        out.store([row, column], (gate * tl.sigmoid(gate) * up).to(out.dtype))
