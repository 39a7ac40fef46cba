"""Products with float8 weights, without vLLM or a GPU."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import linear, rms_norm, silu

from jina_embeddings.plugin.kernels import fp8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CPU = torch.device("cpu")


def test_each_row_has_its_own_scale_and_a_row_of_zeros_the_smallest() -> None:
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [300.0, 1e-3, 896.0]])
    values, scales = fp8.quantized(x)
    assert torch.allclose(scales, torch.tensor([[2 / 448], [1 / (448 * 512)], [2.0]]))
    assert values.float().tolist() == [[224, -448, 112], [0, 0, 0], [144, 0, 448]]


@pytest.mark.parametrize(
    ("kind", "dtype", "capability", "runs"),
    [
        ("cuda", torch.bfloat16, (9, 0), True),
        ("cuda", torch.float16, (10, 0), True),
        ("cuda", torch.bfloat16, (8, 9), False),
        ("cuda", torch.float32, (9, 0), False),
        ("cpu", torch.bfloat16, (9, 0), False),
    ],
)
def test_fp8_kernels_run_on_hopper_or_newer_in_half_precision(
    monkeypatch: pytest.MonkeyPatch, kind: str, dtype: torch.dtype, capability: tuple[int, int], runs: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fp8.runs_on(torch.device(kind), dtype) is runs


def quantize(x: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> None:
    scales.copy_((x.float().abs().amax(dim=-1, keepdim=True) / 448).clamp(min=1 / (448 * 512)))
    values.copy_((x / scales).to(fp8.FLOAT8))


def norm_quantize(
    residual: torch.Tensor, update: torch.Tensor | None, weight: torch.Tensor, epsilon: float, *room: torch.Tensor
) -> None:
    if update is not None:
        residual.add_(update)
    quantize(rms_norm(residual.float(), (residual.shape[1],), weight.float(), epsilon), *room)


def gated_product(
    x: torch.Tensor, scales: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, bias: Any, programs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    bias = None if bias is None else bias.float()
    gate, up = linear(x.float() * scales, weight.float() * scale, bias).chunk(2, dim=-1)
    return fp8.quantized_in_torch(silu(gate) * up)


CHOICES: dict[str, Callable[[], Any]] = {
    "quantize": lambda: fp8.quantize_kernel(CPU, torch.bfloat16, 64),
    "norm_quantize": lambda: fp8.norm_kernel(CPU, torch.bfloat16, 64),
    "gated_product": lambda: fp8.gated_kernel(CPU, False, False),
    "gated_product by channel": lambda: fp8.gated_kernel(CPU, True, False),
    "gated_product with bias": lambda: fp8.gated_kernel(CPU, False, True),
}
MODULES = "fp8_triton", "fp8_gated"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Replaces the kernels' modules by functions, and returns the kernel that `fp8` then chooses."""

    def choose(name: str, **functions: Any) -> Any:
        for module in MODULES:
            monkeypatch.setitem(sys.modules, f"jina_embeddings.plugin.kernels.{module}", SimpleNamespace(**functions))
        monkeypatch.setattr(fp8, "_multiprocessors", lambda device: 1)
        return CHOICES[name]()

    caches = fp8.quantize_kernel, fp8.norm_kernel, fp8.gated_kernel
    for each in caches:
        each.cache_clear()
    yield choose
    for each in caches:
        each.cache_clear()


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("quantize", quantize),
        ("norm_quantize", norm_quantize),
        ("gated_product", gated_product),
        ("gated_product by channel", gated_product),
        ("gated_product with bias", gated_product),
    ],
)
def test_a_kernel_is_used_if_its_results_are_right(
    kernel: Callable[..., Any], name: str, function: Callable[..., None]
) -> None:
    assert kernel(name, **{function.__name__: function}) is function


def one_scale(x: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> None:
    scales.fill_(float(x.abs().max()) / 448)
    values.copy_((x / scales).to(fp8.FLOAT8))


def without_sum(residual: torch.Tensor, update: torch.Tensor | None, *rest: Any) -> None:
    norm_quantize(residual if update is None else residual + update, None, *rest)


def without_update(residual: torch.Tensor, update: torch.Tensor | None, *rest: Any) -> None:
    norm_quantize(residual, None, *rest)


def exchanged(x: Any, scales: Any, weight: torch.Tensor, *rest: Any) -> Any:
    half = len(weight) // 2
    return gated_product(x, scales, weight.view(torch.uint8).roll(half, 0).view(fp8.FLOAT8), *rest)


def without_the_last_columns(*arguments: Any) -> Any:
    values, scales = gated_product(*arguments)
    values[:, 192:] = torch.zeros(1).to(fp8.FLOAT8)
    return values, scales


def by_first_channel(x: Any, scales: Any, weight: Any, scale: torch.Tensor, *rest: Any) -> Any:
    return gated_product(x, scales, weight, scale[:1], *rest)


def without_bias(x: Any, scales: Any, weight: Any, scale: Any, bias: Any, programs: int) -> Any:
    return gated_product(x, scales, weight, scale, None, programs)


def bias_exchanged(x: Any, scales: Any, weight: Any, scale: Any, bias: torch.Tensor, programs: int) -> Any:
    return gated_product(x, scales, weight, scale, bias.roll(len(bias) // 2), programs)


def clipped(*arguments: Any) -> Any:
    """A kernel that clips values to the guessed scale instead of recomputing the token."""
    inside = fp8.dequantized(fp8.Quantized(*gated_product(*arguments)))
    scales = inside.square().mean(dim=1, keepdim=True).sqrt() * 4 / 448
    return (inside / scales).clamp(-448, 448).to(fp8.FLOAT8), scales


def failing(*arguments: Any) -> None:
    raise RuntimeError("out of resources")


@pytest.mark.parametrize(
    ("name", "function", "reason"),
    [
        ("quantize", one_scale, "its results are wrong"),
        ("norm_quantize", without_sum, "its results are wrong"),
        ("norm_quantize", without_update, "its results are wrong"),
        ("gated_product", exchanged, "its results are wrong"),
        ("gated_product", clipped, "its results are wrong"),
        ("gated_product", without_the_last_columns, "its results are wrong"),
        ("gated_product by channel", by_first_channel, "its results are wrong"),
        ("gated_product with bias", without_bias, "its results are wrong"),
        ("gated_product with bias", bias_exchanged, "its results are wrong"),
        ("gated_product", failing, "RuntimeError: out of resources"),
    ],
)
def test_a_kernel_that_fails_or_is_wrong_is_not_used_and_the_log_says_so(
    kernel: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    name: str,
    function: Callable[..., None],
    reason: str,
) -> None:
    assert kernel(name, **{name.partition(" ")[0]: function}) is None
    assert reason in caplog.text
    assert caplog.records[0].levelname == "WARNING"


def test_without_triton_no_kernel_is_used(kernel: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jina_embeddings.plugin.kernels.fp8_triton", None)
    assert CHOICES["quantize"]() is None


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_gated_product_uses_the_guessed_scale_unless_a_token_overflows(
    monkeypatch: pytest.MonkeyPatch, per_channel: bool, biased: bool
) -> None:
    """With each kernel replaced by plain torch, this tests what they pass to each other."""

    def guess_scales(x: Any, x_scales: Any, weight: Any, weight_scale: Any, bias: Any, *room: torch.Tensor) -> None:
        scales, gate_scales, up_scales, inverse_scales, lost = room
        assert (bias is not None) == biased
        scales.fill_(0.25)
        gate_scales.copy_(x_scales if weight_scale.numel() > 1 else x_scales * weight_scale)
        up_scales.copy_(gate_scales / scales)
        inverse_scales.copy_(1 / scales)
        lost.zero_()

    def multiply(
        x: Any, weight: Any, weight_scale: Any, bias: Any, gate_scales: Any, up_scales: Any, inverse: Any, *out: Any
    ) -> None:
        values, excess = out
        sums = x.float() @ weight.float().t() * (1 if weight_scale is None else weight_scale.view(1, -1))
        gate, up = sums.chunk(2, dim=-1)
        gate_bias, up_bias = (0, 0) if bias is None else bias.chunk(2)
        exact = silu(gate * gate_scales + gate_bias) * (up * up_scales + up_bias * inverse)
        values.copy_(exact.clamp(-448, 448).to(fp8.FLOAT8))
        excess.zero_()
        excess[:, -1] = (exact.abs().amax(dim=1) - 448).clamp(min=0)

    def recompute_overflowed(
        x: Any, x_scales: Any, weight: Any, scale: Any, bias: Any, excess: Any, programs: int, *room: torch.Tensor
    ) -> None:
        values, scales, lost = room
        again = excess.sum(dim=1) > 0
        assert 0 < int(again.sum()) < len(x)
        assert int(lost) == 0
        assert programs == 7
        values[again], scales[again] = (
            part[again] for part in gated_product(x, x_scales, weight, scale, bias, programs)
        )

    kernels = SimpleNamespace(guess_scales=guess_scales, recompute_overflowed=recompute_overflowed)
    quack = SimpleNamespace(excess_shape=lambda tokens, width: (tokens, width // 8), scaled_gated_product=multiply)
    monkeypatch.setitem(sys.modules, "jina_embeddings.plugin.kernels.fp8_guess_triton", kernels)
    monkeypatch.setitem(sys.modules, "jina_embeddings.plugin.kernels.fp8_quack", quack)
    # Imported again with the fakes, and removed from sys.modules so that no other test gets it.
    fp8_gated = importlib.import_module("jina_embeddings.plugin.kernels.fp8_gated")
    sys.modules.pop(fp8_gated.__name__)
    torch.manual_seed(0)
    x, weight = fp8.quantized(torch.randn(20, 32)), fp8.quantized(torch.randn(96, 32))
    scale = weight.scales if per_channel else weight.scales[:1].clone()
    bias = torch.randn(96).bfloat16() if biased else None
    found = fp8.Quantized(*fp8_gated.gated_product(*x, weight.values, scale, bias, 7))
    given = None if bias is None else bias.float()
    gate, up = linear(fp8.dequantized(x), weight.values.float() * scale, given).chunk(2, dim=-1)
    inside = silu(gate) * up
    assert bool((found.scales == 0.25).any())
    assert float(((fp8.dequantized(found) - inside).norm(dim=1) / inside.norm(dim=1)).max()) < 2**-4


def test_a_product_is_added_to_the_float8_residual_once() -> None:
    from jina_embeddings.plugin.packed.residual import Fp8Residual

    x = torch.randn(3, 16, dtype=torch.float64)
    layer = SimpleNamespace(weight=torch.eye(16).to(fp8.FLOAT8), weight_scale=torch.ones(1), bias=None)
    states = Fp8Residual(torch.zeros(3, 16, dtype=torch.float64))
    states.add(layer, x)
    read = [fp8.dequantized(states.normed(lambda x: x)) for _ in range(2)]
    rounded = fp8.dequantized(fp8.quantized(x))
    assert torch.allclose(read[0], rounded)
    assert torch.allclose(read[1], rounded)
    assert torch.allclose(states.total(), rounded)
