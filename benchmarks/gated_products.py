"""Gate and up products of an MLP with SiLU: as vLLM's two kernels, and as the fused one that packs use.

python benchmarks/gated_products.py

Widths are those of v4's language model and of its vision tower. Each way runs for `--seconds` before and while it is
timed, since a device that has just been idle is faster. Without a GPU small ones show that it runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.functional import linear, silu

from from_tools import write_result
from jina_embeddings.plugin.kernels.products import gated_product

# Rows of a pack, hidden size, MLP width, and whether there is a bias.
SHAPES = {
    "language model": (16_384, 2048, 11_008, False),
    "vision tower": (62_748, 1280, 3456, True),
}
SMALL = {"small": (256, 64, 128, True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5)
    seconds = parser.parse_args().seconds
    gpu = torch.cuda.is_available()
    found = {name: compare(*shape, gpu, seconds) for name, shape in (SHAPES if gpu else SMALL).items()}
    write_result("gated_products" if gpu else "gated_products_small", {"found": found})


def compare(rows: int, hidden: int, width: int, bias: bool, gpu: bool, seconds: float) -> dict[str, Any]:
    """Microseconds and TFLOP/s of each implementation, and its error compared with float64."""
    options: dict[str, Any] = (
        {"device": "cuda", "dtype": torch.bfloat16} if gpu else {"device": "cpu", "dtype": torch.float32}
    )
    x, weight = torch.randn(rows, hidden, **options), torch.randn(2 * width, hidden, **options) * hidden**-0.5
    layer = SimpleNamespace(
        weight=weight,
        bias=torch.randn(2 * width, **options) if bias else None,
        quant_method=SimpleNamespace(apply=lambda layer, x, bias: linear(x, layer.weight, bias)),
    )
    activation = vllm_activation if gpu else plain_activation
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "product": lambda: linear(x, layer.weight, layer.bias),
        "product, then SiLU": lambda: activation(linear(x, layer.weight, layer.bias)),
        "as in packs": lambda: gated_product(layer, activation, x),
    }
    some = x[:256].double()
    expected = plain_activation(linear(some, weight.double(), None if layer.bias is None else layer.bias.double()))
    found = {}
    for name, way in ways.items():
        microseconds = timed(way, seconds) * 1e6
        found[name] = {
            "microseconds": round(microseconds, 1),
            "tflop_per_s": round(4 * rows * hidden * width / microseconds / 1e6, 1),
        }
        if name != "product":
            found[name]["error"] = float((way()[:256].double() - expected).norm() / expected.norm())
    return found


def plain_activation(both: torch.Tensor) -> torch.Tensor:
    gate, up = both.chunk(2, dim=-1)
    return silu(gate) * up


def vllm_activation(both: torch.Tensor) -> torch.Tensor:
    import vllm._custom_ops  # noqa: F401

    gated = both.new_empty(len(both), both.shape[1] // 2)
    torch.ops._C.silu_and_mul(gated, both)
    return gated


def timed(way: Callable[[], torch.Tensor], seconds: float) -> float:
    """The seconds of a call."""
    for _ in range(2):
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            for _ in range(10):
                way()
            count += 10
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        took = time.perf_counter() - started
    return took / count


if __name__ == "__main__":
    main()
