"""QuACK's product with SwiGLU in its epilogue; importing this needs QuACK, which vLLM installs on CUDA."""

from __future__ import annotations

import torch
from quack.gemm_interface import gemm_gated


def gated_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """silu(x G^T) * (x U^T), where the weight is G stacked on U; the bias likewise.

    The first call on a machine compiles for 3 s; QuACK caches the result on disk.
    """
    halves = ("B",) if bias is None else ("B", "bias")
    options = {"activation": "swiglu", "store_preact": False, "tuned": False, "concat_layout": halves}
    result: torch.Tensor = gemm_gated(x, weight.t(), bias=bias, **options)[1]
    return result
