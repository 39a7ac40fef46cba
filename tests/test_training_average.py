"""The mean of two checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

from average import ADAPTERS, WEIGHTS, Move, average, mean_of_adapters, move_adapters

A, B = "layer.lora_A.code.weight", "layer.lora_B.code.weight"


def adapter(seed: int, rank: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {A: (rank, 12), B: (10, rank)}
    return {name: torch.randn(*shape, generator=generator).half() for name, shape in shapes.items()}


def added(tensors: dict[str, Tensor]) -> Tensor:
    return tensors[B].float() @ tensors[A].float()


def test_adapters_that_share_a_direction_have_the_mean_of_what_they_add() -> None:
    one = adapter(0)
    other = {A: one[A], B: (3 * one[B].float()).half()}
    torch.testing.assert_close(added(mean_of_adapters(one, other)), 2 * added(one), atol=0.05, rtol=0.01)


def test_of_others_the_nearest_of_their_rank_is_kept() -> None:
    one, other = adapter(1), adapter(2)
    mean = mean_of_adapters(one, other)
    wanted = (added(one) + added(other)) / 2
    values = torch.linalg.svdvals(wanted)
    assert {name: tensor.shape for name, tensor in mean.items()} == {name: tensor.shape for name, tensor in one.items()}
    torch.testing.assert_close((added(mean) - wanted).norm(), values[4:].norm(), atol=0.01, rtol=0.01)


def test_everything_but_weights_is_the_first_ones(tmp_path: Path) -> None:
    for number, name in enumerate(("first", "second")):
        (tmp_path / name / "adapters").mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(name)
        save_file({"w": torch.full((2, 3), float(number)).half()}, tmp_path / name / WEIGHTS)
        save_file(adapter(number), tmp_path / name / ADAPTERS)
    average(tmp_path / "first", tmp_path / "second", tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_text() == "first"
    assert load_file(tmp_path / "out" / WEIGHTS)["w"].eq(0.5).all()


def test_adapters_move_to_where_the_others_were(tmp_path: Path) -> None:
    (tmp_path / "first" / "adapters").mkdir(parents=True)
    code = adapter(0)
    retrieval = {A: code[A].clone(), B: (3 * code[B].float()).half()}
    both = code | {name.replace("code", "retrieval"): tensor for name, tensor in retrieval.items()}
    save_file(both, tmp_path / "first" / ADAPTERS)
    moves = [Move.of("retrieval=code:0.5"), Move.of("code=retrieval:0.75")]
    move_adapters(tmp_path / "first", moves, tmp_path / "out")
    moved = load_file(tmp_path / "out" / ADAPTERS)
    torch.testing.assert_close(added(moved), 2.5 * added(code), atol=0.05, rtol=0.01)
    theirs = {name: moved[name.replace("code", "retrieval")] for name in (A, B)}
    torch.testing.assert_close(added(theirs), 2 * added(code), atol=0.05, rtol=0.01)
    with pytest.raises(SystemExit, match="no adapter for matching"):
        move_adapters(tmp_path / "first", [Move.of("matching=code:0.5")], tmp_path / "none")
    assert not (tmp_path / "none").exists()
