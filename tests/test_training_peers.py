"""Processes that train one model together end with the same one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

import peers
from peers import ALONE, EVERY
from schedule import Schedule

TRAINING = Path(peers.__file__).parent

# Each starts from weights and sees batches of its own; the second is much slower.
TOGETHER = """
import sys, time
from pathlib import Path

import torch
from torch import nn

from peers import Peers
from schedule import Schedule

peers = Peers.of_torchrun("cpu")
torch.manual_seed(peers.rank)
layer, log = nn.Linear(4, 3), []
schedule = Schedule(layer.parameters(), 1e-2, 0.5, peers=peers)
start = layer.weight.detach().clone()
mean = [torch.full((2, 2), float(peers.rank)), torch.full((3,), 4.0 * peers.rank)]
peers.average(mean)
while schedule.running():
    time.sleep(0.02 * peers.rank)
    schedule.step((layer(torch.randn(8, 4)) - peers.rank).square().mean(), "text", "made", log)
made = peers.each([lambda number=number: (number, peers.rank) for number in range(3)])
lengths = torch.arange(5)
torch.save(
    {
        "seed": peers.own_seed(7),
        "start": start,
        "mean": mean,
        "weight": layer.weight.detach(),
        "steps": schedule.steps,
        "made": made,
        "total": peers.total(peers.own(lengths)),
        "any": peers.any(peers.rank == 1),
    },
    Path(sys.argv[1]) / str(peers.rank),
)
peers.part()
"""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("peers")
    (folder / "together.py").write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(TRAINING)}
    subprocess.run([*command, str(folder / "together.py"), str(folder)], env=environment, check=True, timeout=120)
    return [torch.load(folder / str(rank)) for rank in (0, 1)]


def test_all_end_with_the_same_weights_at_the_same_step(ends: list[dict]) -> None:
    first, second = ends
    assert first["steps"] == second["steps"]
    assert first["steps"] % EVERY == 0
    torch.testing.assert_close(first["weight"], second["weight"], atol=0, rtol=0)


def test_all_start_with_the_weights_of_the_first(ends: list[dict]) -> None:
    torch.manual_seed(0)
    for end in ends:
        torch.testing.assert_close(end["start"], ends[0]["start"], atol=0, rtol=0)
    torch.testing.assert_close(ends[0]["start"], nn.Linear(4, 3).weight.detach())


def test_each_draws_batches_of_its_own(ends: list[dict]) -> None:
    assert [end["seed"] for end in ends] == [7, 1007]


def test_a_mean_is_taken_tensor_by_tensor(ends: list[dict]) -> None:
    for end in ends:
        assert end["mean"][0].tolist() == [[0.5, 0.5], [0.5, 0.5]]
        assert end["mean"][1].tolist() == [2.0, 2.0, 2.0]


def test_work_is_shared_out_and_everybody_has_all_of_it(ends: list[dict]) -> None:
    for end in ends:
        assert end["made"] == [(0, 0), (1, 1), (2, 0)]
        assert end["total"].tolist() == [0, 1, 2, 3, 4]
        assert end["any"]


def test_who_is_alone_needs_nobody() -> None:
    layer = nn.Linear(2, 2)
    schedule = Schedule(layer.parameters(), 1e-2, 0.05)
    while schedule.running():
        schedule.step(layer(torch.ones(1, 2)).sum(), "text", "made", [])
    assert schedule.steps % EVERY == 0
    assert ALONE.each([lambda: 1, lambda: 2]) == [1, 2]
    assert ALONE.own(torch.arange(4)).tolist() == [0, 1, 2, 3]
