"""Which optimiser of training takes which weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

from optimisers import StackedMuon, matrices
from schedule import Schedule
from student import Student


def test_muon_takes_the_matrices_between_hidden_states() -> None:
    student = Student()
    for _, layer in student.adapters():
        layer.adapt(4)
    chosen = {id(weight) for weight in matrices(student.model) + matrices(student.visual)}
    names = {name for name, weight in student.named_parameters() if id(weight) in chosen}
    assert {"model.layers.0.mlp.up_proj.weight", "visual.merger.mlp.2.weight"} <= names
    assert not [name for name in names if "lora" in name or "embed" in name or "norm" in name or "bias" in name]


def test_both_optimisers_follow_the_clock() -> None:
    layer = nn.Linear(4, 4)
    schedule = Schedule(layer.parameters(), 1e-3, 60, hidden=matrices(layer), hidden_rate=5e-3)
    assert schedule.running()
    adam, muon = schedule.groups
    assert muon["lr"] == pytest.approx(5 * adam["lr"])
    assert adam["lr"] < 1e-3
    before = [weight.clone() for weight in layer.parameters()]
    schedule.step(layer(torch.ones(2, 4)).square().sum(), "vision", "pages", [])
    assert all((old != new).any() for old, new in zip(before, layer.parameters(), strict=True))


def test_stacked_muon_does_what_pytorch_does_one_by_one() -> None:
    torch.manual_seed(0)
    shapes = [(12, 8), (8, 8), (12, 8), (8, 24)]
    stacked = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    single = [nn.Parameter(weight.detach().clone()) for weight in stacked]
    ours = StackedMuon(stacked, 0.5)
    theirs = torch.optim.Muon(single, lr=0.5, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for one, other in zip(stacked, single, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        ours.step()
        theirs.step()
    for one, other in zip(stacked, single, strict=True):
        torch.testing.assert_close(one, other, atol=5e-3, rtol=0)
