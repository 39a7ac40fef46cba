"""Rotary embedding of packs, on a CPU."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from jina_embeddings.plugin.kernels import rotary as rotary_module
from jina_embeddings.plugin.kernels.rotary import multimodal_table, rotate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_rotation_is_complex_multiplication_and_changes_no_other_heads() -> None:
    torch.manual_seed(0)
    everything = torch.randn(5, 4, 8, dtype=torch.float64)
    before = everything.clone()
    angles = torch.randn(5, 4, dtype=torch.float64)
    rotate(everything[:, :3], torch.cat([angles.cos(), angles.sin()], dim=-1))
    turned = torch.complex(before[:, :3, :4], before[:, :3, 4:]) * torch.polar(torch.ones_like(angles), angles)[:, None]
    assert torch.allclose(everything[:, :3], torch.cat([turned.real, turned.imag], dim=-1))
    assert torch.equal(everything[:, 3], before[:, 3])


def test_time_row_and_column_rotate_their_own_sections_of_a_head() -> None:
    frequencies = torch.tensor([1.0, 0.5, 0.25, 0.125], dtype=torch.float64)
    angles = torch.arange(10, dtype=torch.float64)[:, None] * frequencies
    rotary = SimpleNamespace(cos_sin_cache=torch.cat([angles.cos(), angles.sin()], dim=-1), mrope_section=[1, 1, 2])
    positions = torch.tensor([[3, 4], [5, 6], [7, 8]])
    expected = frequencies * torch.tensor([[3.0, 5, 7, 7], [4, 6, 8, 8]], dtype=torch.float64)
    table = multimodal_table(rotary, positions, torch.float64)
    assert torch.allclose(table, torch.cat([expected.cos(), expected.sin()], dim=-1))


class OnGpu(torch.Tensor):
    """A CPU tensor that `rotate` takes for one on a GPU."""

    is_cuda = True


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], list[str]]]:
    """Replaces the kernel by a function, rotates the heads of two layers as on a GPU, and returns what was called."""

    def turn_with(function: Any) -> list[str]:
        calls = []

        def noted(name: str, function: Any) -> Any:
            def call(*arguments: Any) -> None:
                calls.append(name)
                function(*arguments)

            return call

        kernels = None if function is None else SimpleNamespace(turn=noted("kernel", function))
        monkeypatch.setitem(sys.modules, "jina_embeddings.plugin.kernels.rotary_triton", kernels)
        monkeypatch.setattr(rotary_module, "_rotate_by_vllm", noted("vLLM", rotary_module.rotate_in_torch))
        table = torch.randn(7, 8)
        for _ in range(2):
            everything = torch.randn(7, 5, 8)
            expected = everything.clone()
            rotate(expected[:, :3], table)
            rotate(everything.as_subclass(OnGpu)[:, :3], table)
            assert torch.equal(everything, expected)
        return calls

    rotary_module.rotate_kernel.cache_clear()
    yield turn_with
    rotary_module.rotate_kernel.cache_clear()


def test_on_a_gpu_a_correct_kernel_rotates_heads(used: Callable[[Any], list[str]]) -> None:
    # The first call checks the kernel.
    assert used(rotary_module.rotate_in_torch) == ["kernel"] * 3


def backwards(heads: torch.Tensor, table: torch.Tensor) -> None:
    cos, sin = table.chunk(2, dim=-1)
    rotary_module.rotate_in_torch(heads, torch.cat([cos, -sin], dim=-1))


def without_the_last_token(heads: torch.Tensor, table: torch.Tensor) -> None:
    rotary_module.rotate_in_torch(heads[:-1], table[:-1])


def one_head_too_many(heads: torch.Tensor, table: torch.Tensor) -> None:
    tokens, count, size = heads.shape
    rotary_module.rotate_in_torch(heads.as_strided((tokens, count + 1, size), heads.stride()), table)


def one_token_too_many(heads: torch.Tensor, table: torch.Tensor) -> None:
    tokens, *shape = heads.shape
    rotary_module.rotate_in_torch(heads.as_strided((tokens + 1, *shape), heads.stride()), table[[*range(tokens), 0]])


def failing(heads: torch.Tensor, table: torch.Tensor) -> None:
    raise RuntimeError("out of resources")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (backwards, "its results are wrong"),
        (without_the_last_token, "its results are wrong"),
        (one_head_too_many, "its results are wrong"),
        (one_token_too_many, "its results are wrong"),
        (failing, "RuntimeError: out of resources"),
        # Triton is not installed.
        (None, "ModuleNotFoundError"),
    ],
)
def test_where_the_kernel_fails_or_is_wrong_vllms_is_used_and_the_log_says_why(
    used: Callable[[Any], list[str]], caplog: pytest.LogCaptureFixture, function: Any, reason: str
) -> None:
    assert [name for name in used(function) if name != "kernel"] == ["vLLM"] * 2
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "rotary_triton.turn" in record.getMessage()
    assert reason in record.getMessage()


def test_a_kernel_is_checked_with_the_shape_and_strides_it_will_get(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def turn(heads: torch.Tensor, table: torch.Tensor) -> None:
        tried.append((heads.dtype, table.dtype, heads.shape[1:], heads.stride()))
        rotary_module.rotate_in_torch(heads, table)

    monkeypatch.setitem(sys.modules, "jina_embeddings.plugin.kernels.rotary_triton", SimpleNamespace(turn=turn))
    choose = rotary_module.rotate_kernel.__wrapped__
    for dtype, heads, total, size in ((torch.bfloat16, 18, 20, 128), (torch.float16, 32, 48, 80)):
        assert choose(torch.device("cpu"), dtype, (heads, size), (total * size, size)) is turn
        assert tried.pop() == (dtype, dtype, (heads, size), (total * size, size, 1))
