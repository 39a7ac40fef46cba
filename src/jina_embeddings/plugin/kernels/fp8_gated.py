"""Gate, up and SiLU of an MLP in float8 with guessed scales; importing this needs Triton and QuACK."""

from __future__ import annotations

import torch

from .fp8_guess_triton import guess_scales, recompute_overflowed
from .fp8_quack import excess_shape, scaled_gated_product


def gated_product(
    x: torch.Tensor,
    x_scales: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    bias: torch.Tensor | None,
    programs: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """silu(x G^T + g) * (x U^T + u) as float8 values (tokens, width) and scales (tokens, 1).

    x: contiguous float8 (tokens, depth); x_scales: float32 (tokens, 1).
    weight: G stacked on U, contiguous float8 (2 width, depth); weight_scale: float32, either one number or one a row.
    bias: g beside u, (2 width,); None for none.
    programs: how many Triton programs run at a time; use the number of multiprocessors.

    A token that overflows with its guessed scale is computed again with the scale of its largest value, so no value is
    clipped. A token's result doesn't depend on the other tokens.
    """
    tokens, width = len(x), len(weight) // 2
    values = x.new_empty(tokens, width)
    scales, gate_scales, up_scales, inverse_scales = x_scales.new_empty(4, tokens, 1)
    excess = x_scales.new_empty(excess_shape(tokens, width))
    num_overflowed = x.new_empty(1, dtype=torch.int32)
    bias = None if bias is None else bias.float()
    guesses = scales, gate_scales, up_scales, inverse_scales
    guess_scales(x, x_scales, weight, weight_scale, bias, *guesses, num_overflowed)
    per_channel = weight_scale if weight_scale.numel() > 1 else None
    scaled_gated_product(x, weight, per_channel, bias, gate_scales, up_scales, inverse_scales, values, excess)
    recompute_overflowed(x, x_scales, weight, weight_scale, bias, excess, programs, values, scales, num_overflowed)
    return values, scales
