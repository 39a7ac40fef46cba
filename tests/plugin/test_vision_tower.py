"""The vision tower's padded MLP, without an engine; engine tests compare the vectors with the reference."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import linear, silu

from jina_embeddings.plugin.kernels import norms
from jina_embeddings.plugin.kernels.norms import fused_norms

# Imported in the tests, since vLLM takes longer to import than all of them.
MODEL = "jina_embeddings.plugin.model"
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = "model.visual.blocks.3.mlp."


def test_mlp_widths_are_padded_to_multiples_of_half_a_tile() -> None:
    padded_mlp_width = import_module(MODEL).padded_mlp_width
    assert [padded_mlp_width(width) for width in (96, 128, 3420)] == [128, 128, 3456]


def test_a_padded_mlp_gives_the_same_values() -> None:
    padded_mlp_tensor = import_module(MODEL).padded_mlp_tensor
    torch.manual_seed(0)
    weights = {f"{name}_proj.weight": torch.randn(96, 64, dtype=torch.float64) for name in ("gate", "up")}
    weights |= {f"{name}_proj.bias": torch.randn(96, dtype=torch.float64) for name in ("gate", "up")}
    weights["down_proj.weight"] = torch.randn(64, 96, dtype=torch.float64)
    weights["down_proj.bias"] = torch.randn(64, dtype=torch.float64)
    wide = {name: padded_mlp_tensor(BLOCK + name, tensor, 128) for name, tensor in weights.items()}
    assert [len(wide[name]) for name in ("gate_proj.weight", "up_proj.bias", "down_proj.bias")] == [128, 128, 64]
    x = torch.randn(5, 64, dtype=torch.float64)
    assert torch.allclose(mlp(wide, x), mlp(weights, x), rtol=0, atol=1e-12)


def mlp(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    gate = silu(linear(x, w["gate_proj.weight"], w["gate_proj.bias"]))
    return linear(gate * linear(x, w["up_proj.weight"], w["up_proj.bias"]), w["down_proj.weight"], w["down_proj.bias"])


@pytest.mark.parametrize(
    "name",
    ["model.language_model.layers.3.mlp.gate_proj.weight", "model.visual.blocks.3.attn.proj.weight"],
)
def test_other_tensors_are_not_padded(name: str) -> None:
    tensor = torch.zeros(96, 96)
    assert import_module(MODEL).padded_mlp_tensor(name, tensor, 128) is tensor


@pytest.mark.parametrize(("device", "compiled", "kernels"), [("cuda", False, 2), ("cuda", True, 0), ("cpu", False, 0)])
def test_norms_are_fused_on_a_gpu_unless_they_are_compiled(
    device: str, compiled: bool, kernels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ir = pytest.importorskip("vllm.ir")
    operations = (ir.ops.rms_norm, ir.ops.fused_add_rms_norm)
    chosen: list[list[str]] = []
    before = [operation.get_priority() for operation in operations]

    def choose(names: Any) -> list[Any]:
        chosen.append(names)
        return []

    for operation in operations:
        monkeypatch.setattr(operation, "_filter_priority_impls", choose)
    with fused_norms(torch.device(device), compiled=compiled):
        assert chosen == [["vllm_c", "native"]] * kernels
    assert [operation.get_priority() for operation in operations] == before


def test_norms_stay_fused_while_any_thread_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[str] = []

    @contextmanager
    def set_priority(names: Any) -> Iterator[None]:
        inside.append("set")
        yield
        inside.append("reset")

    monkeypatch.setattr(norms, "_operations", lambda: (SimpleNamespace(set_priority=set_priority),))
    first, second = (fused_norms(torch.device("cuda")) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert inside == ["set"]
    second.__exit__(None, None, None)
    assert inside == ["set", "reset"]
