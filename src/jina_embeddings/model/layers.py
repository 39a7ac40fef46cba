"""Layers that the language model and the vision tower share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Linear(nn.Linear):
    def reset_parameters(self) -> None:
        """Does nothing: weights come from a checkpoint, and initialising them would import half of torch's compiler."""


class Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        """Does nothing, as in `Linear`."""


class RMSNorm(nn.Module):
    """x / rms(x) * weight (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer 2020, "SwiGLU")."""

    def __init__(self, width: int, inner: int, bias: bool):
        super().__init__()
        self.gate_proj = Linear(width, inner, bias)
        self.up_proj = Linear(width, inner, bias)
        self.down_proj = Linear(inner, width, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gated = F.silu(self.gate_proj(x), inplace=True).mul_(self.up_proj(x))
        result: torch.Tensor = self.down_proj(gated)
        return result


def inverse_frequencies(count: int, theta: float, device: torch.device) -> torch.Tensor:
    """theta^(-i / count) for i < count, float32 (count,): the angle in radians that pair i rotates by per position."""
    return theta ** -(torch.arange(count, dtype=torch.float32, device=device) / count)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding (Su et al. 2021): values i and i + size / 2 of a head are a point that is rotated.

    x: (..., head size); cos, sin: float32 (..., head size / 2). Computed in float32, returned in the dtype of x.
    """
    first, second = x.float().chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)
