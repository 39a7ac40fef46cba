"""The states of a pack's tokens between layers, by how the weights lie: what is added to them, and in which steps."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from ..kernels import fp8
from ..kernels.products import add_product, gated_product, product


class States(Protocol):
    """What the layers of `PackDecoder` do; x is what `normed` gives.

    layer: a linear layer of vLLM; norm: vLLM's RMSNorm.
    weights: how they lie, for people.
    """

    weights: str

    def __init__(self, residual: torch.Tensor):
        """residual: (tokens, hidden), overwritten."""

    def normed(self, norm: Any) -> Any:
        """The norm of the states, as the input of a product."""

    def product(self, layer: Any, x: Any) -> torch.Tensor:
        """x W^T, and the bias where the layer has one."""

    def gated_product(self, layer: Any, activation: Any, x: Any) -> Any:
        """silu(x G^T) * (x U^T), where the layer's weight is G above U; as the input of a product."""

    def add(self, layer: Any, x: Any) -> None:
        """Adds x W^T to the states; x may be a plain tensor."""

    def last(self, norm: Any) -> torch.Tensor:
        """The norm of the states, (tokens, hidden)."""


class PlainStates:
    """Where weights are plain matrices, products add to the states themselves."""

    weights = "plain weights"

    def __init__(self, residual: torch.Tensor):
        self._residual = residual

    def normed(self, norm: Any) -> torch.Tensor:
        result: torch.Tensor = norm(self._residual)
        return result

    def product(self, layer: Any, x: torch.Tensor) -> torch.Tensor:
        return product(layer, x)

    def gated_product(self, layer: Any, activation: Any, x: torch.Tensor) -> torch.Tensor:
        return gated_product(layer, activation, x)

    def add(self, layer: Any, x: torch.Tensor) -> None:
        add_product(self._residual, layer, x)

    def last(self, norm: Any) -> torch.Tensor:
        return self.normed(norm)


class Fp8States:
    """Where weights are float8, what a product adds waits for the next norm, which is one kernel with quantising."""

    weights = "float8 weights"

    def __init__(self, residual: torch.Tensor):
        self._residual = residual
        self._update: torch.Tensor | None = None

    def normed(self, norm: Any) -> fp8.Quantized:
        update, self._update = self._update, None
        return fp8.norm_quantized(norm, self._residual, update)

    def product(self, layer: Any, x: fp8.Quantized) -> torch.Tensor:
        return fp8.product(layer, x, self._residual.dtype)

    def gated_product(self, layer: Any, activation: Any, x: fp8.Quantized) -> fp8.Quantized:
        return fp8.gated_product(layer, activation, x, self._residual.dtype)

    def add(self, layer: Any, x: fp8.Quantized | torch.Tensor) -> None:
        """To be followed by a norm."""
        self._update = self.product(layer, x if isinstance(x, fp8.Quantized) else fp8.quantized(x))

    def last(self, norm: Any) -> torch.Tensor:
        if self._update is not None:
            self._residual.add_(self._update)
        result: torch.Tensor = norm(self._residual)
        return result
