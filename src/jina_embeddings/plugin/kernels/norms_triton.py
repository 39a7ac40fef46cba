"""The Triton kernel of `norms.offset_norm`; importing this needs Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


def norm(x: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor, epsilon: float, out: torch.Tensor) -> None:
    """Writes the RMS norm of x + offset to `out`, computed in float32 and rounded once.

    x, out: contiguous (tokens, width); offset: float32 (width,); weight: (width,).
    """
    tokens, width = x.shape
    _norm[(tokens,)](x, offset, weight, epsilon, out, width, triton.next_power_of_2(width), num_warps=4)


# Triton resolves annotations, and knows those of triton.language only.
@triton.jit
def _norm(
    x: tl.tensor,
    offset: tl.tensor,
    weight: tl.tensor,
    epsilon: tl.tensor,
    out: tl.tensor,
    width: tl.constexpr,
    block: tl.constexpr,
) -> None:
    first = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, block)
    mask = column < width
    y = tl.load(x + first + column, mask=mask, other=0.0).to(tl.float32)
    y += tl.load(offset + column, mask=mask, other=0.0)
    w = tl.load(weight + column, mask=mask, other=0.0).to(tl.float32)
    y = y * tl.rsqrt(tl.sum(y * y, axis=0) / width + epsilon) * w
    tl.store(out + first + column, y.to(out.dtype.element_ty), mask=mask)
