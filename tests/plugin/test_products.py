"""Products of the packed path, without vLLM or a GPU."""

from __future__ import annotations

import sys
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import linear, silu

from jina_embeddings.plugin.kernels import products
from jina_embeddings.plugin.kernels.products import add_product, gated_product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def layer(rows: int, columns: int, *, bias: bool = False) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    method = SimpleNamespace(apply=lambda layer, x, bias: linear(x, layer.weight, bias))
    return SimpleNamespace(quant_method=method, weight=weight, bias=weight[:, 0] if bias else None)


def swiglu(both: torch.Tensor) -> torch.Tensor:
    gate, up = both.chunk(2, dim=-1)
    return silu(gate) * up


def test_a_product_is_added_in_place() -> None:
    x, total = torch.ones(3, 4, dtype=torch.float64), torch.ones(3, 5, dtype=torch.float64)
    projection = layer(5, 4)
    expected = 1 + x @ projection.weight.T
    add_product(total, projection, x)
    assert torch.allclose(total, expected)


@pytest.mark.parametrize("bias", [False, True])
def test_without_a_fused_kernel_vllms_activation_follows_the_product(bias: bool) -> None:
    x, projection = torch.ones(3, 4, dtype=torch.float64), layer(32, 4, bias=bias)
    expected = swiglu(linear(x, projection.weight, projection.bias))
    assert torch.allclose(gated_product(projection, swiglu, x), expected)


@pytest.fixture
def gated_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any, tuple[int, int]], Any]]:
    """Replaces QuACK by a function on a device of the given capability, and returns the kernel that is chosen."""

    def choose(function: Any, capability: tuple[int, int] = (9, 0), bias: bool = False) -> Any:
        monkeypatch.setitem(sys.modules, "quack", SimpleNamespace())
        tuned = SimpleNamespace(fn=partial(written, function))
        monkeypatch.setitem(sys.modules, "quack.gemm_interface", SimpleNamespace(gemm_gated_tuned=tuned))
        monkeypatch.setitem(sys.modules, "quack.gemm_config", SimpleNamespace(GemmConfig=SimpleNamespace))
        monkeypatch.delitem(sys.modules, "jina_embeddings.plugin.kernels.products_quack", raising=False)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        return products.gated_kernel(torch.device("cpu"), torch.bfloat16, bias)

    products.gated_kernel.cache_clear()
    yield choose
    products.gated_kernel.cache_clear()


def written(
    function: Any, x: torch.Tensor, weight: torch.Tensor, preact: None, out: torch.Tensor, **options: Any
) -> None:
    """Calls the function as QuACK is called, and writes what it returns."""
    out.copy_(function(x, weight, **options))


def quack(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, **options: Any) -> torch.Tensor:
    assert options["concat_layout"] == (("B",) if bias is None else ("B", "bias"))
    return swiglu(linear(x, weight.T, bias))


@pytest.mark.parametrize("bias", [False, True])
def test_quack_is_used_if_its_results_are_right(gated_kernel: Callable[..., Any], bias: bool) -> None:
    gated, projection, x = (
        gated_kernel(quack, bias=bias),
        layer(32, 4, bias=bias),
        torch.ones(3, 4, dtype=torch.float64),
    )
    expected = swiglu(linear(x, projection.weight, projection.bias))
    assert torch.allclose(gated(x, projection.weight, projection.bias), expected)


def test_tiles_of_rows_are_paired_unless_one_of_few_would_be_empty(gated_kernel: Callable[..., Any]) -> None:
    used: list[tuple[int, int, int]] = []

    def noted(x: torch.Tensor, weight: torch.Tensor, **options: Any) -> torch.Tensor:
        used.append((len(x), options["config"].tile_m, options["config"].cluster_m))
        return swiglu(x @ weight)

    gated = gated_kernel(noted)
    used.clear()
    for rows in (1, 64, 65, 128, 129, 256, 300, 1024, 1200, 16_384):
        gated(torch.ones(rows, 4), torch.ones(32, 4), None)
    assert used == [
        (1, 64, 1),
        (64, 64, 1),
        (65, 128, 1),
        (128, 128, 1),
        (129, 128, 2),
        (256, 128, 2),
        (300, 128, 1),
        (1024, 128, 2),
        (1200, 128, 2),
        (16_384, 128, 2),
    ]


def test_quack_chooses_its_own_tiles_on_newer_devices(gated_kernel: Callable[..., Any]) -> None:
    def newer(x: torch.Tensor, weight: torch.Tensor, **options: Any) -> torch.Tensor:
        assert options["config"] is None
        return swiglu(x @ weight)

    assert gated_kernel(newer, (10, 0)) is not None


def test_quack_is_not_used_on_older_devices(gated_kernel: Callable[..., Any]) -> None:
    assert gated_kernel(quack, (8, 0)) is None


def test_quack_is_not_used_where_its_results_are_wrong(
    gated_kernel: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def without_bias(x: torch.Tensor, weight: torch.Tensor, **options: Any) -> torch.Tensor:
        return swiglu(x @ weight)

    def exchanged(x: torch.Tensor, weight: torch.Tensor, **options: Any) -> torch.Tensor:
        return swiglu((x @ weight).roll(weight.shape[1] // 2, -1))

    def wrong_for_few(x: torch.Tensor, weight: torch.Tensor, **options: Any) -> torch.Tensor:
        return swiglu(x @ weight) * float(options["config"].tile_m == 128)

    assert gated_kernel(without_bias, bias=True) is None
    assert gated_kernel(exchanged) is None
    assert gated_kernel(wrong_for_few) is None
    assert "its results are wrong" in caplog.text


def test_quack_is_not_used_where_it_fails(gated_kernel: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    def older(x: torch.Tensor, weight: torch.Tensor) -> None: ...

    assert gated_kernel(older) is None
    assert "products_quack.gated_product: TypeError" in caplog.text
