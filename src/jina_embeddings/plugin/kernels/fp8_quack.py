"""A float8 product with SwiGLU and rounding to float8 in its epilogue, built from QuACK; importing this needs QuACK.

QuACK's public interface has no such product for Hopper. float8 is e4m3, whose largest finite value is 448. The tensor
cores accumulate in reduced precision (fast accumulation), as in vLLM's products. QuACK looks some attributes and
methods up by name, so those have its names.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import cutlass
import torch
from cutlass import Float8E4M3FN, Float32, Int32, const_expr, cute
from quack.activation import gate_fn_map
from quack.cache import jit_cache
from quack.compile_utils import make_fake_tensor
from quack.cute_dsl_utils import get_device_capacity, get_max_active_clusters, mlir_namedtuple
from quack.epi_ops import ColVecLoad, ColVecReduce, RowVecLoad, Scalar, TileStore, vec_multiply
from quack.gemm_act import GemmGatedMixin, _gated_epi_tile_fn
from quack.gemm_sm90 import GemmSm90
from quack.gemm_tvm_ffi_utils import (
    compile_gemm_kernel,
    make_fake_gemm_tensors,
    make_fake_scheduler_args,
    make_scheduler_args,
)
from quack.layout_utils import concat_to_interleave

from .fp8 import FLOAT8_MAX

# Rows and columns of a tile, of an epilogue subtile, and of a cluster of tiles that share their loads. Columns of gate
# and up alternate. The fastest of the sizes measured on an H100.
_TILE, _EPILOGUE_TILE, _CLUSTER = (128, 192), (64, 64), (2, 1)
# Tiles of one column of tiles that are scheduled one after another.
_GROUP_SIZE = 8
# QuACK caches compiled kernels by its own source and by the arguments of `_compiled`; this file has to be one of them.
_SOURCE = sha256(Path(__file__).read_bytes()).hexdigest()


def excess_shape(tokens: int, width: int) -> tuple[int, int]:
    """The shape of `excess` in `scaled_gated_product`: (tokens, tiles of a row)."""
    return tokens, -(-2 * width // _TILE[1])


def scaled_gated_product(
    x: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor | None,
    bias: torch.Tensor | None,
    gate_scales: torch.Tensor,
    up_scales: torch.Tensor,
    inverse_scales: torch.Tensor,
    values: torch.Tensor,
    excess: torch.Tensor,
) -> None:
    """Writes silu(a x G^T + g) * (b x U^T + c u) to `values`; a, b and c are scales of each token.

    x: contiguous float8 (tokens, depth); weight: G stacked on U, contiguous float8 (2 width, depth).
    weight_scale: float32, one for each row of the weight, multiplied into the product; None for none.
    bias: g beside u, contiguous float32 (2 width,); None for none.
    gate_scales, up_scales, inverse_scales: a, b and c, float32, one a token.
    values: output, contiguous float8 (tokens, width).
    excess: output, contiguous float32 of `excess_shape`: how far the values of each tile exceed 448. A row whose sum is
        above 0 has overflowed.
    """
    arguments = _Gated.EpilogueArguments(
        _one(values),
        None,
        channels=None if weight_scale is None else weight_scale.view(1, -1),
        gate=gate_scales.view(1, -1),
        up=up_scales.view(1, -1),
        bias=None if bias is None else bias.view(1, -1),
        inverse=None if bias is None else inverse_scales.view(1, -1),
        excess=excess[None],
    )
    compiled = _compiled(_SOURCE, get_device_capacity(), weight_scale is not None, bias is not None)
    scheduler = make_scheduler_args(get_max_active_clusters(_CLUSTER[0] * _CLUSTER[1]), _GROUP_SIZE, None)
    compiled(_one(x), _one(weight), None, None, arguments, scheduler, None)


def _one(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix as a batch of one, (rows, columns, 1); QuACK's batch dimension is the last."""
    return matrix[None].permute(1, 2, 0)


class _Excess(ColVecReduce):  # type: ignore[misc]
    """Finds the largest value among each thread's columns, and sums over the threads by how much it exceeds 448."""

    @cute.jit
    def end_loop(self, gemm, param, state, epi_coord, epi_tile, *rest):  # type: ignore[no-untyped-def]
        across = cute.zipped_divide(cute.make_layout(gemm.cta_tile_shape_mnk[:2]), epi_tile).shape[1][1]
        if const_expr(epi_coord[1] == across - 1):
            largest = cute.filter_zeros(state[0][None, None, None, epi_coord[0], epi_coord[1]])
            for i in cutlass.range(cute.size(largest), unroll_full=True):
                largest[i] = cute.arch.fmax(largest[i] - FLOAT8_MAX, 0.0)
        ColVecReduce.end_loop(self, gemm, param, state, epi_coord, epi_tile, *rest)


class _Gated(GemmGatedMixin, GemmSm90):  # type: ignore[misc]
    _epi_ops = (
        Scalar("sr_seed", dtype=Int32),
        RowVecLoad("channels"),
        ColVecLoad("gate"),
        ColVecLoad("up"),
        RowVecLoad("bias"),
        ColVecLoad("inverse"),
        _Excess("excess"),
        TileStore("mAuxOut", epi_tile_fn=_gated_epi_tile_fn),
    )

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, fp8_fast_accum=True, **options)

    @mlir_namedtuple
    class EpilogueArguments(NamedTuple):
        mAuxOut: Any  # noqa: N815
        act_fn: cutlass.Constexpr[Any] = None
        channels: Any = None
        gate: Any = None
        up: Any = None
        bias: Any = None
        inverse: Any = None
        excess: Any = None
        sr_seed: Any = None

    @staticmethod
    def _compute_tile_shape_or_override(*_: Any) -> tuple[int, int]:
        return _EPILOGUE_TILE

    def epi_to_underlying_arguments(self, args: Any, *, loc: Any = None, ip: Any = None) -> Any:
        self.rounding_mode = 0
        self.aux_out_dtype = args.mAuxOut.element_type
        self.aux_out_layout = cutlass.utils.LayoutEnum.from_tensor(args.mAuxOut)
        self.cta_tile_shape_aux_out_mn = (self.cta_tile_shape_mnk[0], self.cta_tile_shape_mnk[1] // 2)
        params = self._epi_ops_to_params_dict(args)
        for name in ("channels", "bias"):
            if name in params:
                params[name] = concat_to_interleave(params[name], 1)
        return self.EpilogueParams(**params, act_fn=args.act_fn)

    @cute.jit
    def epi_visit_subtile(self, params, loaded, sums, _=None):  # type: ignore[no-untyped-def]
        vec_multiply(self, sums, None, loaded.get("channels"))
        gate_scale, up_scale = loaded["gate"], loaded["up"]
        bias, inverse = loaded.get("bias"), loaded.get("inverse")
        largest = loaded["excess"]
        pairs = cute.flat_divide(sums, cute.make_layout(2))
        gate, up = pairs[0, ...], pairs[1, ...]
        # A layout instead of its shape would make the compiler place this tensor in memory instead of registers.
        gated = cute.make_rmem_tensor(cute.recast_layout(2, 1, sums.layout).shape, self.acc_dtype)
        for i in cutlass.range(cute.size(gated), unroll_full=True):
            scaled_gate, scaled_up = gate[i] * gate_scale[2 * i], up[i] * up_scale[2 * i]
            if const_expr(bias is not None):
                scaled_gate += bias[2 * i]
                scaled_up += bias[2 * i + 1] * inverse[2 * i]
            value = params.act_fn(scaled_gate, scaled_up)
            largest[2 * i] = cute.arch.fmax(largest[2 * i], cute.arch.fmax(value, -value))
            gated[i] = value
        return (gated,)

    @cute.jit
    def epi_convert_aux_out(self, number, gated, *_):  # type: ignore[no-untyped-def]
        """Rounds to float8, and exchanges values between threads for the store.

        Thread t of each group of four holds columns t and 4 + t of two rows, and has to store columns 2t and 2t + 1.
        """
        values = gated.to(Float8E4M3FN)
        fours = cute.recast_tensor(values, Int32)
        thread = cute.arch.lane_idx() % 4
        selected = Int32(0x5140) if thread < 2 else Int32(0x7362)
        source = 2 * thread % 4
        # Shuffles stay within groups of four lanes.
        groups = (cute.arch.WARP_SIZE - 4) << 8 | (cute.arch.WARP_SIZE - 1)
        for i in cutlass.range(cute.size(fours.shape), unroll_full=True):
            even = cute.arch.shuffle_sync(fours[i], offset=source, mask_and_clamp=groups)
            odd = cute.arch.shuffle_sync(fours[i], offset=source + 1, mask_and_clamp=groups)
            fours[i] = cute.arch.prmt(even, odd, selected)
        return values


@jit_cache
def _compiled(source: str, capability: tuple[int, int], per_channel: bool, biased: bool) -> Any:
    if capability[0] != 9:
        raise RuntimeError("its instructions are those of compute capability 9")
    *operands, m, n, _, one = make_fake_gemm_tensors(Float8E4M3FN, Float8E4M3FN, None, None, "k", "k", None, None)
    arguments = _Gated.EpilogueArguments(
        make_fake_tensor(Float8E4M3FN, (m, cute.sym_int(), one), leading_dim=1, divisibility=16),
        gate_fn_map["swiglu"],
        channels=_vector(one, n) if per_channel else None,
        gate=_vector(one, m),
        up=_vector(one, m),
        bias=_vector(one, n) if biased else None,
        inverse=_vector(one, m) if biased else None,
        excess=make_fake_tensor(Float32, (one, m, cute.sym_int()), leading_dim=2, divisibility=1),
    )
    pingpong, persistent, gathers, dynamic = True, True, False, False
    options = (pingpong, persistent, gathers, dynamic, capability)
    scheduler, cluster = make_fake_scheduler_args(False, False, one), (*_CLUSTER, 1)
    interleaved = {"concat_layout": ("B",)}
    return compile_gemm_kernel(
        _Gated, Float8E4M3FN, _TILE, cluster, *options, *operands, arguments, scheduler, None, **interleaved
    )


def _vector(one: Any, length: Any) -> Any:
    # divisibility=1: vectors are aligned to one element, 4 bytes, and no more.
    return make_fake_tensor(Float32, (one, length), leading_dim=1, divisibility=1)
