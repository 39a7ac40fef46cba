"""Products with the unquantised weights that vLLM has loaded, fused with what follows them."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch.nn.functional import linear, silu

from ..compat import imported, require
from .checked import checked, is_hopper_with_half_precision, random_rows, relative_error

# Elements of one load (16 bytes) of the gated kernel: rows of widths that aren't multiples of it are misaligned.
_LOAD_ELEMENTS = 8
# Each of these numbers of rows has other tiles.
_CHECKED_ROWS = (40, 128, 256)


class Tiles(NamedTuple):
    """How QuACK divides a product: rows and columns of a tile, and those of a cluster, whose tiles share their loads.

    pingpong: two groups of warps take turns, so that one writes its tile while the other multiplies.
    """

    rows: int
    columns: int
    pingpong: bool
    cluster: tuple[int, int]


# Of these shapes of a weight, (outputs, inputs), QuACK's product takes less time than cuBLAS's, whose products of few
# inputs wait for their results to be written: queries, keys and values, output, and down projection of the vision
# tower. One division for all numbers of rows also gives an image the same vector, whatever runs beside it.
FASTER_TILES: dict[tuple[int, ...], Tiles] = {
    (3840, 1280): Tiles(128, 192, True, (2, 1)),
    (1280, 1280): Tiles(128, 160, True, (2, 1)),
    (1280, 3424): Tiles(128, 160, True, (2, 1)),
}


def has_plain_weight(layer: Any) -> bool:
    """Whether the layer's weight is one matrix, neither quantised nor sharded over GPUs."""
    require("linear layers", layer)
    plain = imported("linear layers", "UnquantizedLinearMethod")
    return isinstance(layer.quant_method, plain) and getattr(layer, "tp_size", 1) == 1


def product(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """x W^T, plus the layer's bias if it has one."""
    tiled = tiled_product(x.device, x.dtype, layer.weight.shape) if x.is_cuda else None
    result: torch.Tensor
    if tiled is not None:
        result = tiled(x, layer.weight, layer.bias)
    else:
        result = layer.quant_method.apply(layer, x, layer.bias)
    return result


def add_product(total: torch.Tensor, layer: Any, x: torch.Tensor) -> torch.Tensor | None:
    """Adds x W^T to `total` in place, on a GPU with a single rounding, and the layer's bias if it has one.

    Returns the bias if it is still to be added, as on a GPU, where the product accumulates.
    """
    if not total.is_cuda:
        total.add_(product(layer, x))
        return None
    tiled = tiled_product(x.device, x.dtype, layer.weight.shape)
    if tiled is not None:
        tiled.add(total, x, layer.weight)
    else:
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
def tiled_product(device: torch.device, dtype: torch.dtype, shape: torch.Size) -> Any:
    """QuACK's product if it is the faster one for a weight of this shape; None if not, or if it is wrong."""
    is_hopper = is_hopper_with_half_precision(device, dtype) and torch.cuda.get_device_capability(device)[0] == 9
    if shape not in FASTER_TILES or not is_hopper:
        return None

    def errors(tiled: Any) -> list[float]:
        outputs, inputs = shape
        weight = random_rows(device, dtype, outputs, inputs) / inputs**0.5
        bias = random_rows(device, dtype, 1, outputs)[0]
        found = []
        for rows in _CHECKED_ROWS:
            x, total = random_rows(device, dtype, rows, inputs), random_rows(device, dtype, rows, outputs)
            expected = linear(x.float(), weight.float())
            found.append(relative_error(tiled(x, weight, bias), expected + bias))
            expected += total
            tiled.add(total, x, weight)
            found.append(relative_error(total, expected))
        return found

    def load() -> Any:
        from .products_quack import TiledProduct

        return TiledProduct(FASTER_TILES[shape])

    return checked("products_quack.TiledProduct", load, errors)


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
