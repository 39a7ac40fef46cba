"""Measures the device's rate of matrix products, which the shares in the results refer to.

python benchmarks/device_rate.py bfloat16 float8
"""

from __future__ import annotations

import json
import sys
import time

import torch


def matrix_rate(kind: str, *, seconds: float = 2.0) -> float:
    """FLOPs a second of a square product, repeated for `seconds` so that clocks are those under sustained load.

    kind: `bfloat16`, `float32`, or `float8` (rowwise inputs, one scale each; Hopper and later).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    if kind == "float8":
        left, right = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()
        one = torch.ones((), device=device)

        def product() -> torch.Tensor:
            return torch._scaled_mm(left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    else:
        left, right = a.to(getattr(torch, kind)), b.to(getattr(torch, kind))

        def product() -> torch.Tensor:
            return left @ right

    _run(product, 3, device)
    per_call = _run(product, 3, device) / 3
    count = max(3, int(seconds / per_call))
    return 2 * size**3 * count / _run(product, count, device)


def _run(product: object, count: int, device: str) -> float:
    started = time.perf_counter()
    for _ in range(count):
        product()  # type: ignore[operator]
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps({kind: matrix_rate(kind) for kind in sys.argv[1:]}))
