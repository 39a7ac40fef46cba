"""Products with weights that vLLM has quantised to float8 (e4m3), whose inputs are quantised with one scale a token.

vLLM stores such a weight as (in, out), a transposed view, and its scale as one number or as one for each output.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch.nn.functional import rms_norm, silu

from ..compat import imported
from .checked import checked, is_hopper_with_half_precision, random_rows, relative_error

FLOAT8 = torch.float8_e4m3fn
# The largest finite value of e4m3.
FLOAT8_MAX = 448.0
# vLLM's lower bound of a scale, so that a row of zeros is not divided by zero.
MIN_SCALE = 1 / (FLOAT8_MAX * 512)
# Largest relative rounding error of e4m3, which has 3 bits of mantissa.
_ROUNDING_ERROR = 2**-4
# For up to this many tokens a product and a kernel for SiLU and quantising take less time than the fused kernel, whose
# tiles have 128 rows and which guesses scales.
MAX_SEPARATE_TOKENS = 768
# vLLM's product and ours need widths that are multiples of this.
_WIDTH_MULTIPLE = 16


class Quantized(NamedTuple):
    """A quantised tensor: what it stands for is values * scales.

    values: float8, contiguous (tokens, width).
    scales: float32 (tokens, 1).
    """

    values: torch.Tensor
    scales: torch.Tensor


def runs_on(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device can run the kernels; dtype: of the layers' inputs and outputs."""
    return device.type == "cuda" and is_hopper_with_half_precision(device, dtype)


def has_fp8_weight(layer: Any) -> bool:
    """Whether the layer multiplies one unsharded float8 matrix with an input whose scales are computed at run time."""
    weight, scale = getattr(layer, "weight", None), getattr(layer, "weight_scale", None)
    if weight is None or weight.dtype != FLOAT8 or scale is None or getattr(layer, "tp_size", 1) != 1:
        return False
    # The shapes differ where vLLM has padded the weight.
    inputs, outputs = layer.input_size_per_partition, layer.output_size_per_partition
    return bool(
        tuple(weight.shape) == (inputs, outputs)
        and weight.stride() == (1, inputs)
        and inputs % _WIDTH_MULTIPLE == outputs % _WIDTH_MULTIPLE == 0
        and scale.numel() in (1, outputs)
        and getattr(layer, "input_scale", None) is None
    )


def quantized(x: torch.Tensor) -> Quantized:
    """Quantises (tokens, width) of any floating point dtype; the largest value of each row becomes 448."""
    if x.is_cuda:
        quantize = quantize_kernel(x.device, x.dtype, x.shape[1])
        if quantize is None:
            quantize = imported("kernels", "scaled_fp8_quant")
            return Quantized(*quantize(x, scale=None, use_per_token_if_dynamic=True))
        result = _empty_for(x)
        quantize(x, *result)
        return result
    return quantized_in_torch(x)


def norm_quantized(norm: Any, residual: torch.Tensor, update: torch.Tensor | None) -> Quantized:
    """The norm of residual + update, quantised; the sum, rounded once, is written to `residual`.

    norm: vLLM's RMSNorm.
    residual, update: (tokens, width).
    """
    kernel = norm_kernel(residual.device, residual.dtype, residual.shape[1]) if residual.is_cuda else None
    if kernel is None:
        if update is not None:
            residual.add_(update)
        return quantized(norm(residual))
    result = _empty_for(residual)
    kernel(residual, update, norm.weight, norm.variance_epsilon, *result)
    return result


def product(layer: Any, x: Quantized, dtype: torch.dtype) -> torch.Tensor:
    """x W^T, plus the layer's bias if it has one, in the given dtype."""
    if x.values.is_cuda:
        multiply = imported("kernels", "cutlass_scaled_mm")
        scales = {"scale_a": x.scales, "scale_b": layer.weight_scale}
        result: torch.Tensor = multiply(x.values, layer.weight, out_dtype=dtype, bias=layer.bias, **scales)
        return result
    whole: torch.Tensor = dequantized(x) @ (layer.weight.to(x.scales.dtype) * layer.weight_scale.view(1, -1))
    whole = whole if layer.bias is None else whole + layer.bias
    return whole.to(dtype)


def gated_product(layer: Any, activation: Any, x: Quantized, dtype: torch.dtype) -> Quantized:
    """silu(x G^T + g) * (x U^T + u), quantised; the layer's weight is G stacked on U, and its bias, if any, g beside u.

    activation: vLLM's SiLU and product, used where the fused kernel isn't available.
    dtype: of the intermediate result in that case.
    """
    device, scale = x.values.device, layer.weight_scale
    kernel = None
    if x.values.is_cuda and len(x.values) > MAX_SEPARATE_TOKENS:
        kernel = gated_kernel(device, scale.numel() > 1, layer.bias is not None)
    if kernel is None:
        return gate_quantized(product(layer, x, dtype), activation)
    # The weight must be read at each call: applying a weight bank replaces the parameter's data.
    return Quantized(*kernel(*x, layer.weight.t(), scale, layer.bias, _multiprocessors(device)))


def gate_quantized(both: torch.Tensor, activation: Any) -> Quantized:
    """silu(g) * u, quantised, where `both` is g beside u, (tokens, 2 width).

    activation: vLLM's SiLU and product, used where the fused kernel isn't available.
    """
    width = both.shape[1] // 2
    kernel = _gate_kernel(both.device, both.dtype, width) if both.is_cuda else None
    if kernel is None:
        return quantized(activation(both))
    result = _empty_for(both[:, :width])
    kernel(both, *result)
    return result


def _empty_for(x: torch.Tensor) -> Quantized:
    values = torch.empty(x.shape, device=x.device, dtype=FLOAT8)
    return Quantized(values, torch.empty(len(x), 1, device=x.device, dtype=torch.float32))


def quantized_in_torch(x: torch.Tensor) -> Quantized:
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    scales = (exact.abs().amax(dim=-1, keepdim=True) / FLOAT8_MAX).clamp(min=MIN_SCALE)
    return Quantized((exact / scales).clamp(-FLOAT8_MAX, FLOAT8_MAX).to(FLOAT8), scales)


def dequantized(x: Quantized) -> torch.Tensor:
    return x.values.to(x.scales.dtype) * x.scales


@cache
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@cache
def quantize_kernel(device: torch.device, dtype: torch.dtype, width: int) -> Any:
    def errors(quantize: Any) -> list[float]:
        x = random_rows(device, dtype, 5, width)
        x[0], x[1, 0] = 0, 1000
        found = _empty_for(x)
        quantize(x, *found)
        return [relative_error(dequantized(found), dequantized(quantized_in_torch(x)))]

    def load() -> Any:
        from .fp8_triton import quantize

        return quantize

    return checked("fp8_triton.quantize", load, errors)


@cache
def _gate_kernel(device: torch.device, dtype: torch.dtype, width: int) -> Any:
    def errors(gate_quantize: Any) -> list[float]:
        both = random_rows(device, dtype, 5, 2 * width)
        both[0] = 0
        found = _empty_for(both[:, :width])
        gate_quantize(both, *found)
        gate, up = both.float().chunk(2, dim=-1)
        expected = dequantized(quantized_in_torch(silu(gate) * up))
        return [relative_error(dequantized(found), expected)]

    def load() -> Any:
        from .fp8_triton import gate_quantize

        return gate_quantize

    return checked("fp8_triton.gate_quantize", load, errors)


@cache
def norm_kernel(device: torch.device, dtype: torch.dtype, width: int) -> Any:
    def errors(norm_quantize: Any) -> list[float]:
        residual = random_rows(device, dtype, 5, width)
        update = residual.flip(0)
        weight, epsilon, total = residual[0] + 1, 1e-6, residual + update
        found = []
        for expected, added in ((residual.clone(), None), (total, update)):
            result = _empty_for(residual)
            norm_quantize(residual, added, weight, epsilon, *result)
            normed = rms_norm(expected.float(), (width,), weight.float(), epsilon)
            found.append(relative_error(dequantized(result), dequantized(quantized_in_torch(normed))))
            found.append(relative_error(residual, expected))
        return found

    def load() -> Any:
        from .fp8_triton import norm_quantize

        return norm_quantize

    return checked("fp8_triton.norm_quantize", load, errors)


@cache
def gated_kernel(device: torch.device, per_channel: bool, biased: bool) -> Any:
    def errors(gated: Any) -> list[float]:
        # Neither the rows nor the columns are a multiple of the tile, and the number of rows is odd.
        x = quantized_in_torch(random_rows(device, torch.bfloat16, 201, 320))
        weight, scale = quantized_in_torch(random_rows(device, torch.bfloat16, 2 * 208, 320))
        if not per_channel:
            scale = scale[:1].clone()
        # One value of a row is far above the others, so that its guessed scale is too small and it overflows.
        weight.view(2, 208, 320)[:, 5] = (FLOAT8_MAX * x.values[3].float().sign()).to(FLOAT8)
        both = dequantized(x) @ dequantized(Quantized(weight, scale)).t()
        bias = None
        if biased:
            # As large as the product, so that one that is added to the wrong column, or not scaled, is noticed.
            bias = (random_rows(device, torch.float32, 1, 2 * 208)[0] * both.std()).bfloat16()
            both = both + bias
        gate, up = both.chunk(2, dim=-1)
        found = Quantized(*gated(*x, weight, scale, bias, _multiprocessors(device)))
        return [relative_error(dequantized(found), silu(gate) * up) - _ROUNDING_ERROR]

    def load() -> Any:
        from .fp8_gated import gated_product

        return gated_product

    return checked("fp8_gated.gated_product", load, errors)
