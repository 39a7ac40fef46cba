"""The residual stream of a pack: how products are added to it and how norms read it, for each kind of weights."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from ..kernels import fp8
from ..kernels.norms import offset_norm
from ..kernels.products import add_product, gated_product, product


class Residual(Protocol):
    """The residual stream, and the products of the layers that read and update it.

    In all methods, layer is a linear layer of vLLM, norm is vLLM's RMSNorm, and x is what `normed` or `gated_product`
    returned: a tensor or a `Quantized`.

    weights: the kind of weights, for the log.
    """

    weights: str

    def __init__(self, residual: torch.Tensor):
        """residual: the first layer's input, contiguous (tokens, hidden); overwritten."""

    def normed(self, norm: Any) -> Any:
        """The norm of the residual, as the input of a product."""

    def product(self, layer: Any, x: Any) -> torch.Tensor:
        """x W^T, plus the layer's bias if it has one."""

    def gated_product(self, layer: Any, activation: Any, x: Any) -> Any:
        """silu(x G^T) * (x U^T), where the layer's weight is G stacked on U; as the input of a product."""

    def add(self, layer: Any, x: Any) -> None:
        """Adds x W^T, plus the layer's bias, to the residual; x may be unquantised with any kind of weights."""

    def total(self) -> torch.Tensor:
        """The residual after the last layer, (tokens, hidden)."""


class PlainResidual:
    """For unquantised weights: a product accumulates into the residual, and its bias into an offset of all tokens."""

    weights = "plain weights"

    def __init__(self, residual: torch.Tensor):
        self._residual = residual
        # float32 (hidden,): the sum of the biases that products have left to be added; None if there were none.
        self._offset: torch.Tensor | None = None

    def normed(self, norm: Any) -> torch.Tensor:
        if self._offset is not None:
            return offset_norm(norm, self._residual, self._offset)
        result: torch.Tensor = norm(self._residual)
        return result

    def product(self, layer: Any, x: torch.Tensor) -> torch.Tensor:
        return product(layer, x)

    def gated_product(self, layer: Any, activation: Any, x: torch.Tensor) -> torch.Tensor:
        return gated_product(layer, activation, x)

    def add(self, layer: Any, x: torch.Tensor) -> None:
        bias = add_product(self._residual, layer, x)
        if bias is not None:
            self._offset = bias.float() if self._offset is None else self._offset + bias

    def total(self) -> torch.Tensor:
        if self._offset is None:
            return self._residual
        return (self._residual + self._offset).to(self._residual.dtype)


class Fp8Residual:
    """For float8 weights: a product's result waits for the next norm, whose kernel adds it and quantises."""

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
        """Adds x W^T with the next norm; `normed` or `total` must be called before the next `add`."""
        self._update = self.product(layer, x if isinstance(x, fp8.Quantized) else fp8.quantized(x))

    def total(self) -> torch.Tensor:
        update, self._update = self._update, None
        return self._residual if update is None else self._residual.add_(update)
