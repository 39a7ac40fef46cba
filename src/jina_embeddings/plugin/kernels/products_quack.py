"""QuACK's product with SwiGLU in its epilogue; importing this needs QuACK, which vLLM installs on CUDA."""

from __future__ import annotations

import torch
from quack.gemm_config import GemmConfig
from quack.gemm_interface import gemm_gated_tuned

# Rows of a tile, and of the smaller tile that few rows have.
_TILE, _SMALL_TILE = 128, 64
# Above this many rows, an odd number of tiles matters less than the loads that a cluster of two shares.
_MAX_UNPAIRED_ROWS = 1024


def gated_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """silu(x G^T) * (x U^T), where the weight is G stacked on U; the bias likewise.

    The first call of each tile on a machine compiles for 3 s; QuACK caches the result on disk.
    """
    out = x.new_empty(len(x), len(weight) // 2)
    halves = ("B",) if bias is None else ("B", "bias")
    # QuACK has a default for every other generation.
    config = _config(len(x)) if torch.cuda.get_device_capability(x.device)[0] == 9 else None
    # `fn`: without trying all tiles first.
    gemm_gated_tuned.fn(x, weight.t(), None, out, bias=bias, activation="swiglu", config=config, concat_layout=halves)
    return out


def _config(rows: int) -> GemmConfig:
    """The fastest tiles for Hopper, of those measured on an H200.

    In a cluster, two tiles of rows share what they load of the weight; if their number is odd, one of them is empty.
    """
    tiles = -(-rows // _TILE)
    paired = tiles % 2 == 0 or rows > _MAX_UNPAIRED_ROWS
    small = rows <= _SMALL_TILE
    return GemmConfig(
        tile_m=_SMALL_TILE if small else _TILE,
        tile_n=192,
        pingpong=not small,
        cluster_m=2 if paired else 1,
        cluster_n=1,
        is_dynamic_persistent=False,
        device_capacity=9,
    )
