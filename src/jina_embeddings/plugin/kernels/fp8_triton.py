"""The Triton kernels that quantise for `fp8`; importing this needs Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from . import fp8

# Triton kernels can read globals of type constexpr only.
_FLOAT8_MAX = tl.constexpr(fp8.FLOAT8_MAX)
MIN_SCALE = tl.constexpr(fp8.MIN_SCALE)


def quantize(x: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> None:
    """Writes `fp8.quantized(x)` to values and scales.

    x: contiguous (tokens, width); values: contiguous float8 (tokens, width); scales: float32 (tokens, 1).
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
    """Adds the update to the residual in residual_ptrs, and writes the sum's RMS norm, quantised, to values and scales.

    residual, update: contiguous (tokens, width); values: contiguous float8 (tokens, width).
    scales: float32 (tokens, 1).
    """
    tokens, width = residual.shape
    block = triton.next_power_of_2(width)
    _norm_quantize[(tokens,)](residual, update, weight, epsilon, values, scales, width, block, num_warps=4)


def gate_quantize(both: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> None:
    """Writes silu(g) * u, quantised, to values and scales, where `both` is g beside u.

    both: contiguous (tokens, 2 width); values: contiguous float8 (tokens, width); scales: float32 (tokens, 1).
    """
    tokens, width = values.shape
    block = triton.next_power_of_2(width)
    _gate_quantize[(tokens,)](both, values, scales, width, block, num_warps=8 if block > 4096 else 4)


# Triton resolves annotations, and knows those of triton.language only.
@triton.jit
def store_quantized(
    y: tl.tensor, values: tl.tensor, scale_ptr: tl.tensor, column: tl.tensor, column_mask: tl.tensor
) -> None:
    scale = tl.maximum(tl.max(tl.abs(y), axis=0) / _FLOAT8_MAX, MIN_SCALE)
    tl.store(scale_ptr, scale)
    scaled = tl.minimum(tl.maximum(y * (1.0 / scale), -_FLOAT8_MAX), _FLOAT8_MAX)
    tl.store(values + column, scaled.to(tl.float8e4nv), mask=column_mask)


@triton.jit
def _quantize(x: tl.tensor, values: tl.tensor, scales: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    column_mask = column < width
    y = tl.load(x + row * width + column, mask=column_mask, other=0.0).to(tl.float32)
    store_quantized(y, values + row * width, scales + row, column, column_mask)


@triton.jit
def _gate_quantize(
    both: tl.tensor, values: tl.tensor, scales: tl.tensor, width: tl.constexpr, block: tl.constexpr
) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    column_mask = column < width
    gate_ptrs = both + row * (2 * width) + column
    gate = tl.load(gate_ptrs, mask=column_mask, other=0.0).to(tl.float32)
    up = tl.load(gate_ptrs + width, mask=column_mask, other=0.0).to(tl.float32)
    store_quantized(gate * tl.sigmoid(gate) * up, values + row * width, scales + row, column, column_mask)


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
    column_mask = column < width
    residual_ptrs = residual + row * width + column
    y = tl.load(residual_ptrs, mask=column_mask, other=0.0).to(tl.float32)
    if update is not None:
        y += tl.load(update + row * width + column, mask=column_mask, other=0.0).to(tl.float32)
        rounded = y.to(residual.dtype.element_ty)
        tl.store(residual_ptrs, rounded, mask=column_mask)
        y = rounded.to(tl.float32)
    w = tl.load(weight + column, mask=column_mask, other=0.0).to(tl.float32)
    y = y * tl.rsqrt(tl.sum(y * y, axis=0) / width + epsilon) * w
    store_quantized(y, values + row * width, scales + row, column, column_mask)
