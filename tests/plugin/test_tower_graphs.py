"""When the vision tower is recorded, and what a replay returns; the recorder runs the function again."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch

from jina_embeddings.plugin.packed import tower_graphs
from jina_embeddings.plugin.packed.tower_graphs import TowerGraphs

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE, PHOTOGRAPH = (1, 2, 4), (1, 4, 4)


class Recorder:
    def __init__(self) -> None:
        self.num_recorded = 0

    def __call__(self, run: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        self.num_recorded += 1
        features = run()
        return lambda: features.copy_(run()), features  # type: ignore[return-value]


def twice(patches: torch.Tensor) -> torch.Tensor:
    return 2 * patches


def test_a_size_is_recorded_when_it_comes_the_fourth_time_and_each_image_gets_its_own_features() -> None:
    recorder = Recorder()
    graphs = TowerGraphs(recorder)
    given = [torch.full((8, 3), float(number)) for number in range(6)]
    found = [graphs.features(twice, patches, PAGE) for patches in given]
    assert recorder.num_recorded == 1
    assert [set(features.flatten().tolist()) for features in found] == [{2.0 * number} for number in range(6)]


def test_sizes_that_come_less_often_are_not_recorded() -> None:
    recorder = Recorder()
    graphs = TowerGraphs(recorder)
    for _ in range(3):
        for grid in (PAGE, PHOTOGRAPH):
            graphs.features(twice, torch.ones(8, 3), grid)
    assert recorder.num_recorded == 0


def test_no_more_sizes_are_recorded_than_memory_is_meant_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower_graphs, "_MAX_GRAPHS", 1)
    recorder = Recorder()
    graphs = TowerGraphs(recorder)
    for grid in (PAGE, PHOTOGRAPH):
        for _ in range(6):
            assert bool((graphs.features(twice, torch.ones(8, 3), grid) == 2).all())
    assert recorder.num_recorded == 1


def test_after_a_failed_recording_the_kernels_are_launched_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    attempts = []

    def failing(run: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        attempts.append(run)
        raise RuntimeError("out of memory")

    graphs = TowerGraphs(failing)
    for _ in range(9):
        assert bool((graphs.features(twice, torch.ones(8, 3), PAGE) == 2).all())
    assert len(attempts) == 1
    assert "no more graphs of images: RuntimeError: out of memory" in caplog.text


def test_a_graph_whose_replay_differs_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    def stale(run: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        return lambda: None, run()

    graphs = TowerGraphs(stale)
    for number in range(6):
        assert bool((graphs.features(twice, torch.full((8, 3), float(number)), PAGE) == 2 * number).all())
    assert "a replay differs from launched kernels by" in caplog.text


def test_what_a_graph_reads_lives_as_long_as_it() -> None:
    """A graph has the addresses of tensors, not the tensors."""

    def by_address(run: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        features = run()
        return lambda: features.fill_(1), features  # type: ignore[return-value]

    layout = torch.ones(3)
    alive = weakref.ref(layout)
    graphs = TowerGraphs(by_address)
    for _ in range(4):
        graphs.features(partial(torch.mul, layout), torch.ones(8, 3), PAGE)
    del layout
    gc.collect()
    assert alive() is not None
