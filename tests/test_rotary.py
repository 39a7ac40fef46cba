"""Rotary positions of the packed path, on a CPU."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from jina_embeddings.plugin.rotary import multimodal_table, rotate


def test_heads_are_turned_as_complex_numbers_and_what_lies_beside_them_stays() -> None:
    torch.manual_seed(0)
    everything = torch.randn(5, 4, 8, dtype=torch.float64)
    before = everything.clone()
    angles = torch.randn(5, 4, dtype=torch.float64)
    rotate(everything[:, :3], torch.cat([angles.cos(), angles.sin()], dim=-1))
    turned = torch.complex(before[:, :3, :4], before[:, :3, 4:]) * torch.polar(torch.ones_like(angles), angles)[:, None]
    assert torch.allclose(everything[:, :3], torch.cat([turned.real, turned.imag], dim=-1))
    assert torch.equal(everything[:, 3], before[:, 3])


def test_time_row_and_column_turn_their_own_parts_of_a_head() -> None:
    frequencies = torch.tensor([1.0, 0.5, 0.25, 0.125], dtype=torch.float64)
    angles = torch.arange(10, dtype=torch.float64)[:, None] * frequencies
    rotary = SimpleNamespace(cos_sin_cache=torch.cat([angles.cos(), angles.sin()], dim=-1), mrope_section=[1, 1, 2])
    positions = torch.tensor([[3, 4], [5, 6], [7, 8]])
    expected = frequencies * torch.tensor([[3.0, 5, 7, 7], [4, 6, 8, 8]], dtype=torch.float64)
    table = multimodal_table(rotary, positions, torch.float64)
    assert torch.allclose(table, torch.cat([expected.cos(), expected.sin()], dim=-1))
