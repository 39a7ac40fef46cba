"""The kernels of fp8 on a GPU, in Triton's interpreter, beside plain torch in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn.functional import linear, rms_norm, silu

from interpreted import interpreted

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("triton")

FLOAT8 = torch.float8_e4m3fn
# Of 3 bits after the first, rounded.
HALF_STEP = 2**-4


def poisoned(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.full(shape, torch.nan).to(dtype)


def rows(count: int, width: int) -> torch.Tensor:
    """Of different sizes; the second is zero, and the last has one value that is far from the others."""
    torch.manual_seed(count + width)
    x = torch.randn(count, width) * torch.logspace(-3, 2, count)[:, None]
    x[1], x[-1, 0] = 0, 5000
    return x


def assert_quantized(x: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> None:
    expected = (x.abs().amax(dim=-1, keepdim=True) / 448).clamp(min=1 / (448 * 512))
    assert torch.allclose(scales, expected, rtol=1e-5, atol=0)
    # Below 2 ** -6 float8 has steps of 2 ** -9.
    found, ideal = values.float(), x / expected
    assert bool(((found - ideal).abs() <= ideal.abs().clamp(min=2**-6) * HALF_STEP * 1.001).all())


@pytest.mark.parametrize("width", [64, 80])
def test_rows_are_quantised_each_with_its_own_scale(tmp_path: Path, width: int) -> None:
    x = rows(5, width)
    found = interpreted(
        tmp_path, "fp8_kernels", "quantize", x, poisoned(5, width, dtype=FLOAT8), poisoned(5, 1, dtype=torch.float32)
    )
    assert_quantized(x, *found[1:3])


@pytest.mark.parametrize("added", [False, True])
def test_a_norm_is_quantised_of_a_residual_that_keeps_the_sum(tmp_path: Path, added: bool) -> None:
    residual, weight = rows(5, 80), torch.rand(80) + 0.5
    update = rows(5, 80).flip(0) if added else None
    total = residual + update if update is not None else residual.clone()
    room = poisoned(5, 80, dtype=FLOAT8), poisoned(5, 1, dtype=torch.float32)
    found = interpreted(tmp_path, "fp8_kernels", "norm_quantize", residual, update, weight, 1e-6, *room)
    assert torch.equal(found[0], total)
    assert_quantized(rms_norm(total, (80,), weight, 1e-6), *found[4:6])


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("programs", [1, 3])
def test_gate_and_up_are_one_product_with_silu_behind_it(tmp_path: Path, per_channel: bool, programs: int) -> None:
    """Three tiles by two, none whole at the end, and a sum of two steps."""
    tokens, width, depth = 260, 144, 160
    torch.manual_seed(0)
    x, weight = torch.randn(tokens, depth).to(FLOAT8), torch.randn(2 * width, depth).to(FLOAT8)
    scales = torch.rand(tokens, 1) / 8
    weight_scale = torch.rand(2 * width, 1) if per_channel else torch.rand(1)
    out = poisoned(tokens, width, dtype=torch.float16)
    found = interpreted(tmp_path, "fp8_kernels", "gated", x, scales, weight, weight_scale, programs, out)[5]
    gate, up = linear(x.float() * scales, weight.float() * weight_scale).chunk(2, dim=-1)
    assert torch.allclose(found.float(), silu(gate) * up, rtol=2e-3, atol=2e-3)
