"""The residual stream where products accumulate and leave their biases, as on a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import rms_norm

from jina_embeddings.plugin.packed import residual as module
from jina_embeddings.plugin.packed.residual import PlainResidual

WIDTH = 6


def norm(x: torch.Tensor) -> torch.Tensor:
    return rms_norm(x, (WIDTH,))


def test_biases_that_products_leave_are_in_every_norm_and_in_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    def accumulate(total: torch.Tensor, layer: Any, x: torch.Tensor) -> Any:
        total.add_(x @ layer.weight.T)
        return layer.bias

    monkeypatch.setattr(module, "add_product", accumulate)
    torch.manual_seed(0)
    x = torch.randn(4, WIDTH)
    layers = [SimpleNamespace(weight=torch.randn(WIDTH, WIDTH), bias=bias) for bias in torch.randn(3, WIDTH)]
    layers.insert(1, SimpleNamespace(weight=torch.randn(WIDTH, WIDTH), bias=None))
    expected = x.clone()
    residual = PlainResidual(x)
    assert torch.allclose(residual.normed(norm), norm(expected))
    for layer in layers:
        read = residual.normed(norm)
        residual.add(layer, read)
        expected = expected + read @ layer.weight.T + (0 if layer.bias is None else layer.bias)
        assert torch.allclose(residual.normed(norm), norm(expected), atol=1e-5)
    assert torch.allclose(residual.total(), expected, atol=1e-5)
