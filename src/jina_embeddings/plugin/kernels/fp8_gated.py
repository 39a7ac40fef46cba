"""An MLP's gate, up and SiLU straight to float8, by guessed scales; importing this needs Triton and QuACK."""

from __future__ import annotations

import torch

from .fp8_guess_triton import guess_scales, redo_lost
from .fp8_quack import excess_shape
from .fp8_quack import gated as multiply


def gated(
    x: torch.Tensor, x_scales: torch.Tensor, weight: torch.Tensor, weight_scale: torch.Tensor, programs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """silu(x G^T) * (x U^T) as values and scales, where the weight is G above U.

    x: contiguous float8 (tokens, depth); x_scales: float32 (tokens, 1).
    weight: contiguous float8 (2 width, depth); weight_scale: float32, one in all or one a row.
    programs: that run at once, as many as the device has multiprocessors.

    Tokens with a value too large for the guess are done once more, by their largest value, so nothing is clipped. What
    a token's values are depends on no other token.
    """
    tokens, width = len(x), len(weight) // 2
    values = x.new_empty(tokens, width)
    scales, gate_scales, up_scales = x_scales.new_empty(3, tokens, 1)
    excess = x_scales.new_empty(excess_shape(tokens, width))
    lost = x.new_empty(1, dtype=torch.int32)
    guess_scales(x, x_scales, weight, weight_scale, scales, gate_scales, up_scales, lost)
    per_channel = weight_scale if weight_scale.numel() > 1 else None
    multiply(x, weight, per_channel, gate_scales, up_scales, values, excess)
    redo_lost(x, x_scales, weight, weight_scale, excess, programs, values, scales, lost)
    return values, scales
