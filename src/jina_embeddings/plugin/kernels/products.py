"""Products with the unquantised weights that vLLM has loaded, fused with what follows them."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn.functional import linear, silu

from ..compat import imported, require
from .checked import checked, is_hopper_with_half_precision, random_rows, relative_error

# Elements of one load (16 bytes) of the gated kernel: rows of widths that aren't multiples of it are misaligned.
_LOAD_ELEMENTS = 8
# Each of these numbers of rows has other tiles.
_CHECKED_ROWS = (40, 128, 256)


def has_plain_weight(layer: Any) -> bool:
    """Whether the layer's weight is one matrix, neither quantised nor sharded over GPUs."""
    require("linear layers", layer)
    plain = imported("linear layers", "UnquantizedLinearMethod")
    return isinstance(layer.quant_method, plain) and getattr(layer, "tp_size", 1) == 1


def product(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """x W^T, plus the layer's bias if it has one."""
    result: torch.Tensor = layer.quant_method.apply(layer, x, layer.bias)
    return result


def add_product(total: torch.Tensor, layer: Any, x: torch.Tensor) -> torch.Tensor | None:
    """Adds x W^T to `total` in place, on a GPU with a single rounding, and the layer's bias if it has one.

    Returns the bias if it is still to be added, as on a GPU, where the product accumulates.
    """
    if not total.is_cuda:
        total.add_(product(layer, x))
        return None
    torch.addmm(total, x, layer.weight.t(), out=total)
    bias: torch.Tensor | None = layer.bias
    return bias


def gated_product(layer: Any, activation: Any, x: torch.Tensor) -> torch.Tensor:
    """silu(x G^T) * (x U^T), where the layer's weight is G stacked on U; its bias likewise.

    activation: vLLM's SiLU and product, used where the fused kernel isn't available.
    """
    weight, bias = layer.weight, layer.bias
    aligned = weight.shape[0] % (2 * _LOAD_ELEMENTS) == 0
    gated = gated_kernel(x.device, x.dtype, bias is not None) if x.is_cuda and aligned else None
    result: torch.Tensor = activation(product(layer, x)) if gated is None else gated(x, weight, bias)
    return result


@cache
def gated_kernel(device: torch.device, dtype: torch.dtype, with_bias: bool) -> Any:
    """The fused kernel of product and SiLU; None where the device can't run it or its results are wrong."""
    if not is_hopper_with_half_precision(device, dtype):
        return None

    def errors(gated: Any) -> list[float]:
        weight = random_rows(device, dtype, 512, 256) / 16
        bias = random_rows(device, dtype, 1, 512)[0] if with_bias else None
        found = []
        for rows in _CHECKED_ROWS:
            x = random_rows(device, dtype, rows, 256)
            gate, up = linear(x.float(), weight.float(), None if bias is None else bias.float()).chunk(2, dim=-1)
            found.append(relative_error(gated(x, weight, bias), silu(gate) * up))
        return found

    def load() -> Any:
        from .products_quack import gated_product

        return gated_product

    return checked("products_quack.gated_product", load, errors)
