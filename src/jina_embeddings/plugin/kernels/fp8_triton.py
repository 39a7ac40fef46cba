"""The Triton kernels that quantise for `fp8`; importing this needs Triton.

float8 is e4m3 throughout, whose largest value is 448.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

# Kernels may read globals of this type only.
_LARGEST = tl.constexpr(448.0)
# vLLM's, so that a row of zeros has a scale.
SMALLEST_SCALE = tl.constexpr(1 / (448.0 * 512.0))


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


# Triton looks annotations up; those of tl it knows.
@triton.jit
def store_quantized(
    y: tl.tensor, values: tl.tensor, scale_place: tl.tensor, column: tl.tensor, known: tl.tensor
) -> None:
    scale = tl.maximum(tl.max(tl.abs(y), axis=0) / _LARGEST, SMALLEST_SCALE)
    tl.store(scale_place, scale)
    scaled = tl.minimum(tl.maximum(y * (1.0 / scale), -_LARGEST), _LARGEST)
    tl.store(values + column, scaled.to(tl.float8e4nv), mask=known)


@triton.jit
def _quantize(x: tl.tensor, values: tl.tensor, scales: tl.tensor, width: tl.constexpr, block: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block)
    known = column < width
    y = tl.load(x + row * width + column, mask=known, other=0.0).to(tl.float32)
    store_quantized(y, values + row * width, scales + row, column, known)


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
    store_quantized(y, values + row * width, scales + row, column, known)
