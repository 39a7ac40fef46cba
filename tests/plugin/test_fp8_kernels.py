"""The Triton kernels of fp8 in Triton's interpreter, compared with plain torch in float32."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch.nn.functional import linear, rms_norm, silu

import jina_embeddings.plugin
from interpreted import interpreted

pytest.importorskip("triton")
pytestmark = pytest.mark.long

FLOAT8 = torch.float8_e4m3fn
# Largest relative rounding error of e4m3, which has 3 bits of mantissa.
HALF_STEP = 2**-4


def poisoned(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.full(shape, torch.nan).to(dtype)


def rows(count: int, width: int) -> torch.Tensor:
    """Random rows of different magnitudes; the second is zero, and the last has an outlier."""
    torch.manual_seed(count + width)
    x = torch.randn(count, width) * torch.logspace(-3, 2, count)[:, None]
    x[1], x[-1, 0] = 0, 5000
    return x


def assert_quantized(x: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> None:
    expected = (x.abs().amax(dim=-1, keepdim=True) / 448).clamp(min=1 / (448 * 512))
    assert torch.allclose(scales, expected, rtol=1e-5, atol=0)
    # Below 2^-6, e4m3 is subnormal, with steps of 2^-9.
    found, ideal = values.float(), x / expected
    assert bool(((found - ideal).abs() <= ideal.abs().clamp(min=2**-6) * HALF_STEP * 1.001).all())


@pytest.mark.parametrize("width", [64, 80])
def test_rows_are_quantised_each_with_its_own_scale(tmp_path: Path, width: int) -> None:
    x = rows(5, width)
    found = interpreted(
        tmp_path, "fp8_triton", "quantize", x, poisoned(5, width, dtype=FLOAT8), poisoned(5, 1, dtype=torch.float32)
    )
    assert_quantized(x, *found[1:3])


def test_gate_quantize_multiplies_silu_of_the_first_half_with_the_second(tmp_path: Path) -> None:
    both = torch.cat([rows(5, 80), rows(5, 80).flip(0)], dim=1)
    gate, up = both.chunk(2, dim=-1)
    room = poisoned(5, 80, dtype=FLOAT8), poisoned(5, 1, dtype=torch.float32)
    found = interpreted(tmp_path, "fp8_triton", "gate_quantize", both, *room)
    assert_quantized(silu(gate) * up, *found[1:3])


@pytest.mark.parametrize("added", [False, True])
def test_norm_quantize_updates_the_residual_and_quantises_its_norm(tmp_path: Path, added: bool) -> None:
    residual, weight = rows(5, 80), torch.rand(80) + 0.5
    update = rows(5, 80).flip(0) if added else None
    total = residual + update if update is not None else residual.clone()
    room = poisoned(5, 80, dtype=FLOAT8), poisoned(5, 1, dtype=torch.float32)
    found = interpreted(tmp_path, "fp8_triton", "norm_quantize", residual, update, weight, 1e-6, *room)
    assert torch.equal(found[0], total)
    assert_quantized(rms_norm(total, (80,), weight, 1e-6), *found[4:6])


def operands(
    tokens: int, width: int, depth: int, *, per_channel: bool, biased: bool
) -> tuple[list[torch.Tensor | None], torch.Tensor]:
    """An input and a gate-and-up weight with their scales, a bias or None, and silu(gate) * up of them."""
    torch.manual_seed(0)
    x, weight = torch.randn(tokens, depth).to(FLOAT8), torch.randn(2 * width, depth).to(FLOAT8)
    scales = torch.rand(tokens, 1) / 8
    weight_scale = torch.rand(2 * width, 1) if per_channel else torch.rand(1)
    bias = 3 * torch.randn(2 * width) if biased else None
    gate, up = linear(x.float() * scales, weight.float() * weight_scale, bias).chunk(2, dim=-1)
    return [x, scales, weight, weight_scale, bias], silu(gate) * up


@pytest.mark.parametrize(("per_channel", "biased"), [(False, False), (True, False), (False, True), (True, True)])
def test_scales_are_guessed_from_64_evenly_spaced_columns(tmp_path: Path, per_channel: bool, biased: bool) -> None:
    """140 rows are two tiles, the second partly filled; a depth of 160 takes two steps."""
    given, inside = operands(tokens=140, width=300, depth=160, per_channel=per_channel, biased=biased)
    _, x_scales, _, weight_scale, _ = given
    assert x_scales is not None
    assert weight_scale is not None
    room = [poisoned(140, 1, dtype=torch.float32) for _ in range(4)]
    lost = torch.full((1,), 7, dtype=torch.int32)
    found = interpreted(tmp_path, "fp8_guess_triton", "guess_scales", *given, *room, lost)
    scales, gate_scales, up_scales, inverse_scales = found[5:9]
    expected = inside[:, ::4][:, :64].abs().sqrt().mean(dim=1, keepdim=True).square() * 4096 / 448
    assert torch.allclose(scales, expected, rtol=1e-4)
    factors = x_scales if per_channel else x_scales * weight_scale
    assert torch.allclose(gate_scales, factors)
    assert torch.allclose(up_scales, factors / expected, rtol=1e-4)
    assert torch.allclose(inverse_scales, 1 / expected, rtol=1e-4)
    assert int(found[9]) == 0


@pytest.mark.parametrize(
    ("per_channel", "biased", "programs"), [(False, False, 1), (True, False, 3), (False, True, 3), (True, True, 1)]
)
def test_only_overflowed_tokens_are_recomputed_with_the_scale_of_their_largest_value(
    tmp_path: Path, per_channel: bool, biased: bool, programs: int
) -> None:
    """80 tokens are two tiles of rows, 144 columns a partly filled tile; a depth of 160 takes two steps."""
    given, inside = operands(tokens=90, width=144, depth=160, per_channel=per_channel, biased=biased)
    excess = torch.zeros(90, 3)
    excess[3:83, 1] = torch.rand(80) + 1e-3
    values, scales = torch.ones(90, 144).to(FLOAT8), torch.full((90, 1), 5.0)
    lost = torch.zeros(1, dtype=torch.int32)
    found = interpreted(
        tmp_path, "fp8_guess_triton", "recompute_overflowed", *given, excess, programs, values, scales, lost
    )
    values, scales, lost = found[7:10]
    assert int(lost) == 80
    again = inside[3:83]
    expected = (again.abs().amax(dim=1, keepdim=True) / 448).clamp(min=1 / (448 * 512))
    # The recomputed values are rounded to bfloat16 before they are quantised.
    assert torch.allclose(scales[3:83], expected, rtol=2**-7)
    error = (values[3:83].float() * scales[3:83] - again).abs()
    assert bool((error <= again.abs().maximum(scales[3:83] * 2**-6) * HALF_STEP * 1.2).all())
    kept = torch.cat([torch.arange(3), torch.arange(83, 90)])
    assert bool((values[kept].float() == 1).all())
    assert bool((scales[kept] == 5).all())


def test_products_of_tokens_that_are_done_again_name_the_depth_of_exact_sums() -> None:
    """Tensor cores sum float8 with fewer bits than float32 unless told; the interpreter always sums exactly."""
    source = Path(jina_embeddings.plugin.__file__).parent / "kernels/fp8_guess_triton.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    (again,) = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "_multiply_again")
    products = [node for node in ast.walk(again) if isinstance(node, ast.Call) and ast.unparse(node.func) == "tl.dot"]
    depths = [{word.arg: ast.literal_eval(word.value) for word in product.keywords} for product in products]
    assert depths == [{"max_num_imprecise_acc": 128}] * 2
