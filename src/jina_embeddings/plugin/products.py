"""Products with the weights that vLLM has loaded, in as few kernels as there are."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import torch
from torch.nn.functional import linear, silu

logger = logging.getLogger(__name__)

# Values that a load of the gated kernel takes: rows of other widths aren't aligned.
_ALIGNED = 8


def has_plain_weight(layer: Any) -> bool:
    """Whether the layer's product is that of its input with one matrix: neither quantised nor split over GPUs."""
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod

    return isinstance(layer.quant_method, UnquantizedLinearMethod) and getattr(layer, "tp_size", 1) == 1


def product(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """x W^T, and the bias where the layer has one."""
    result: torch.Tensor = layer.quant_method.apply(layer, x, layer.bias)
    return result


def add_product(total: torch.Tensor, layer: Any, x: torch.Tensor) -> None:
    """Adds x W^T to `total` in place, rounding once; for layers without a bias."""
    if total.is_cuda:
        torch.addmm(total, x, layer.weight.t(), out=total)
    else:
        total.add_(product(layer, x))


def gated_product(layer: Any, activation: Any, x: torch.Tensor) -> torch.Tensor:
    """silu(x G^T) * (x U^T), where the layer's weight is G above U, and its bias is likewise.

    activation: vLLM's own, for where nothing does both at a time.
    """
    weight, bias = layer.weight, layer.bias
    aligned = weight.shape[0] % (2 * _ALIGNED) == 0
    gated = _gated_gemm(x.device, x.dtype, bias is not None) if x.is_cuda and aligned else None
    result: torch.Tensor = activation(product(layer, x)) if gated is None else gated(x, weight, bias)
    return result


@cache
def _gated_gemm(device: torch.device, dtype: torch.dtype, with_bias: bool) -> Any:
    """QuACK's product with SwiGLU behind it, which vLLM installs on CUDA, if it gives what it should on this device.

    Otherwise None, and the reason is logged: only speed depends on it. Compiling takes 3 s, once on a machine.
    """
    if torch.cuda.get_device_capability(device) < (9, 0) or dtype not in (torch.bfloat16, torch.float16):
        return None
    halves = ("B", "bias") if with_bias else ("B",)

    def gated(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
        from quack.gemm_interface import gemm_gated

        options = {"activation": "swiglu", "store_preact": False, "tuned": False, "concat_layout": halves}
        return gemm_gated(x, weight.t(), bias=bias, **options)[1]

    generator = torch.Generator(device).manual_seed(0)
    x, weight = (torch.randn(256, 256, device=device, dtype=dtype, generator=generator) for _ in range(2))
    weight /= 16
    bias = weight[:, 0].contiguous() * 16 if with_bias else None
    gate, up = linear(x.float(), weight.float(), None if bias is None else bias.float()).chunk(2, dim=-1)
    expected = silu(gate) * up
    try:
        error = float((gated(x, weight, bias).float() - expected).norm() / expected.norm())
    except Exception as problem:
        logger.info("gate and up products run without QuACK: %s: %s", type(problem).__name__, problem)
        return None
    if not error < 0.01:
        logger.warning("gate and up products run without QuACK: its results are wrong by %.1e on this device", error)
        return None
    return gated
