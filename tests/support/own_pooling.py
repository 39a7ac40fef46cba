"""A pooling function as a user might write one: importable by path in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def largest_norm(hidden: torch.Tensor) -> torch.Tensor:
    """The token with the largest norm."""
    return hidden[hidden.norm(dim=-1).argmax()]
