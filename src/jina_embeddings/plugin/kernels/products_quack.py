"""QuACK's product with SwiGLU behind it, which vLLM installs on CUDA; importing this needs QuACK."""

from __future__ import annotations

import torch
from quack.gemm_interface import gemm_gated


def gated(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """silu(x G^T) * (x U^T), where the weight is G above U, and the bias is likewise.

    Compiling takes 3 s, once on a machine.
    """
    halves = ("B",) if bias is None else ("B", "bias")
    options = {"activation": "swiglu", "store_preact": False, "tuned": False, "concat_layout": halves}
    result: torch.Tensor = gemm_gated(x, weight.t(), bias=bias, **options)[1]
    return result
