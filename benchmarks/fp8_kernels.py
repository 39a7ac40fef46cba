"""Compares the kernels of fp8 packs and of rotary embedding with vLLM's; needs a GPU with float8.

python benchmarks/fp8_kernels.py

Sizes are those of v4's language model and of its vision tower. Each way runs for `--seconds` before and while it is
timed. An error is that of the worst row beside plain torch on the same operands, relative to the row.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import linear, rms_norm

from from_tools import write_result
from gated_products import plain_activation, vllm_activation
from jina_embeddings.plugin.kernels import checked as checked_kernels
from jina_embeddings.plugin.kernels import fp8, rotary
from jina_embeddings.plugin.packed.residual import Fp8Residual, PlainResidual, Residual

DEVICE, DTYPE = torch.device("cuda", 0), torch.bfloat16
TOKENS, HIDDEN, WIDTH = 16_384, 2048, 11_008
# Tokens, heads that are rotated, all heads, head size.
HEADS = ((TOKENS, 18, 20, 128), (62_748, 32, 48, 80))
EPSILON = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.3)
    seconds = parser.parse_args().seconds
    if not torch.cuda.is_available() or not fp8.runs_on(DEVICE, DTYPE):
        sys.exit("fp8_kernels.py needs a GPU of compute capability 9.0 or more, and torch sees none here")
    with torch.inference_mode(), patch.object(checked_kernels.logger, "warning", refuse):
        found = {f"rotary, {n} x {h} of {a} heads x {s}": turned(n, h, a, s, seconds) for n, h, a, s in HEADS}
        found |= {f"quantise, {TOKENS} x {width}": quantised(width, seconds) for width in (HIDDEN, WIDTH)}
        found[f"norm and quantise, {TOKENS} x {HIDDEN}"] = normed(None, seconds)
        found[f"sum, norm and quantise, {TOKENS} x {HIDDEN}"] = normed(normal(TOKENS, HIDDEN), seconds)
        found[f"gate, up, SiLU and quantising, {TOKENS} x {HIDDEN} to {WIDTH}"] = gated(seconds)
        found[f"layer without attention, {TOKENS} tokens"] = layer(seconds)
    write_result("fp8_kernels", {"found": found})


def refuse(message: str, *details: object) -> None:
    """Ends the program if one of our kernels can't be used, as vLLM's would be measured instead."""
    sys.exit("fp8_kernels.py compares nothing: " + message % details)


def turned(tokens: int, heads: int, total: int, size: int, seconds: float) -> dict[str, Any]:
    everything, angles = normal(tokens, total, size), normal(tokens, size // 2)
    table = torch.cat([angles.cos(), angles.sin()], dim=-1)
    expected = everything.double()
    rotary.rotate_in_torch(expected[:, :heads], table.double())

    def by(turn: Callable[..., None]) -> Callable[..., torch.Tensor]:
        def way(everything: torch.Tensor) -> torch.Tensor:
            turn(everything[:, :heads], table)
            return everything

        return way

    return compare({"ours": by(rotary.rotate), "vllm": by(rotary._rotate_by_vllm)}, [everything], expected, seconds)


def quantised(width: int, seconds: float) -> dict[str, Any]:
    x = normal(TOKENS, width)
    return compare({"ours": fp8.quantized, "vllm": quantised_by_vllm}, [x], fp8.quantized_in_torch(x), seconds)


def normed(update: torch.Tensor | None, seconds: float) -> dict[str, Any]:
    norm, residual = Norm(), normal(TOKENS, HIDDEN)
    exact = (residual if update is None else residual + update).float()
    expected = fp8.quantized_in_torch(rms_norm(exact, (HIDDEN,), norm.weight.float(), EPSILON))

    def vllm(residual: torch.Tensor, update: torch.Tensor | None) -> fp8.Quantized:
        if update is None:
            return quantised_by_vllm(norm(residual))
        torch.ops._C.fused_add_rms_norm(update, residual, norm.weight, EPSILON)
        return quantised_by_vllm(update)

    return compare({"ours": partial(fp8.norm_quantized, norm), "vllm": vllm}, [residual, update], expected, seconds)


def gated(seconds: float) -> dict[str, Any]:
    """Measures the gated product; the errors are mostly rounding to float8."""
    layer, x = Linear(2 * WIDTH, HIDDEN), fp8.quantized(normal(TOKENS, HIDDEN))
    expected = plain_activation(linear(fp8.dequantized(x), layer.weight.t().float() * layer.weight_scale))
    ways = {
        "ours": lambda: fp8.gated_product(layer, None, x, DTYPE),
        "vllm": lambda: quantised_by_vllm(vllm_activation(fp8.product(layer, x, DTYPE))),
    }
    return compare(ways, [], expected, seconds)


def layer(seconds: float) -> dict[str, Any]:
    """Measures a decoder layer without attention and rotation; the error is that of two layers, against bfloat16."""
    norms, x = (Norm(), Norm()), normal(TOKENS, HIDDEN)
    shapes = (HIDDEN + 512, HIDDEN, True), (HIDDEN, HIDDEN, False), (2 * WIDTH, HIDDEN, False), (HIDDEN, WIDTH, False)
    layers = [Linear(*shape) for shape in shapes]

    def run(kind: type[Residual], count: int) -> torch.Tensor:
        states = kind(x.clone())
        qkv, o, gate_up, down = [layer.plain for layer in layers] if kind is PlainResidual else layers
        for _ in range(count):
            heads = states.product(qkv, states.normed(norms[0]))
            states.add(o, heads[:, :HIDDEN].contiguous())
            states.add(down, states.gated_product(gate_up, vllm_activation, states.normed(norms[1])))
        return norms[0](states.total())

    expected = run(PlainResidual, 2).float()
    found = {"bfloat16": {"microseconds": microseconds(lambda: run(PlainResidual, 1), seconds)}}
    without: dict[str, Any] = dict.fromkeys(("quantize_kernel", "norm_kernel", "gated_kernel"), lambda *_: None)
    for name, kernels in (("ours", nullcontext()), ("vllm", patch.multiple(fp8, **without))):
        with kernels:
            error = float((run(Fp8Residual, 2).float() - expected).norm() / expected.norm())
            found[name] = {"microseconds": microseconds(lambda: run(Fp8Residual, 1), seconds), "error": error}
    return found


class Norm:
    """The attributes of vLLM's RMSNorm that packs use."""

    variance_epsilon = EPSILON

    def __init__(self) -> None:
        self.weight = 1 + 0.1 * normal(HIDDEN)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        torch.ops._C.rms_norm(out, x, self.weight, EPSILON)
        return out


class Linear:
    """The attributes of a layer quantised by vLLM, with one scale, that packs use; `plain` is it in bfloat16."""

    def __init__(self, outputs: int, inputs: int, bias: bool = False):
        from vllm import _custom_ops as ops

        weight = normal(outputs, inputs) * inputs**-0.5
        self.bias = normal(outputs) if bias else None
        values, self.weight_scale = ops.scaled_fp8_quant(weight)
        self.weight = values.t()
        method = SimpleNamespace(apply=lambda layer, x, bias: linear(x, layer.weight, bias))
        self.plain = SimpleNamespace(weight=weight, bias=self.bias, quant_method=method)


def compare(ways: dict[str, Callable[..., Any]], given: list[Any], expected: Any, seconds: float) -> dict[str, Any]:
    """Times and errors of several functions.

    given: the arguments, copied for each function, since some overwrite them.
    expected: the right result, a tensor or a `Quantized`.
    """
    found = {}
    for name, way in ways.items():
        own = [x if x is None else x.clone() for x in given]
        plain = (fp8.dequantized(x) if isinstance(x, fp8.Quantized) else x for x in (way(*own), expected))
        error = checked_kernels.relative_error(*plain)
        found[name] = {"microseconds": microseconds(partial(way, *own), seconds), "error": error}
    return found


def quantised_by_vllm(x: torch.Tensor) -> fp8.Quantized:
    from vllm import _custom_ops as ops

    return fp8.Quantized(*ops.scaled_fp8_quant(x, scale=None, use_per_token_if_dynamic=True))


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device=DEVICE, dtype=DTYPE)


def microseconds(way: Callable[[], Any], seconds: float) -> float:
    """Microseconds of a call, by the device's clock."""
    event: Any = torch.cuda.Event
    start, end = (event(enable_timing=True) for _ in range(2))
    for _ in range(2):
        began, count = time.perf_counter(), 0
        start.record()
        while time.perf_counter() - began < seconds:
            way()
            count += 1
        end.record()
        end.synchronize()
    return round(float(start.elapsed_time(end)) * 1000 / count, 1)


if __name__ == "__main__":
    main()
