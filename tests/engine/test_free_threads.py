"""The number of threads of a forward on a CPU, by how long threads wait for cores."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from jina_embeddings import JinaEmbeddings, options
from jina_embeddings.cli.model import ModelChoice
from jina_embeddings.engine import free_threads
from jina_embeddings.engine.free_threads import FreeThreads


class Machine:
    """A clock, and what the system reports, by averages over each forward of a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.waited = self.idle = self.others = 0.0
        self.counts: list[int] = []
        monkeypatch.setattr(free_threads, "time", SimpleNamespace(monotonic=lambda: self.now, process_time=lambda: 0.0))
        monkeypatch.setattr(free_threads, "_waited", lambda: self.waited)
        monkeypatch.setattr(free_threads, "_idle", lambda: self.idle)
        monkeypatch.setattr(free_threads, "_others", lambda: self.others)
        monkeypatch.setattr(torch, "set_num_threads", self.counts.append)

    def forward(
        self,
        threads: FreeThreads,
        waiting: float = 0.0,
        idle: float = 0.0,
        others: float = 1.0,
        seconds: float = 1.0,
    ) -> None:
        with threads.forward():
            self.now += seconds
            self.others += others * seconds
            self.waited += waiting * seconds
            self.idle += idle * seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_threads_that_wait_for_cores_are_given_up(machine: Machine) -> None:
    threads = FreeThreads(8)
    # What the process waited for before its first forward says nothing.
    machine.now, machine.waited = 10.0, 50.0
    for waiting in (0.1, 0.4, 2.0, 0.6, 50.0, 0.0):
        machine.forward(threads, waiting)
    assert machine.counts == [8, 8, 6, 5, 1]


def test_threads_that_wait_for_those_of_their_own_process_are_kept(machine: Machine) -> None:
    threads = FreeThreads(2)
    for others in (0.0, 0.4, 0.2, 0.6):
        machine.forward(threads, waiting=1.0, others=others)
    machine.forward(threads)
    assert machine.counts == [2, 2, 2, 1]


def test_cores_that_become_idle_are_used_again(machine: Machine) -> None:
    threads = FreeThreads(8)
    machine.forward(threads, waiting=7)
    for idle in (0.4, 0.6, 3.2, 8.0, 8.0, 0.0):
        machine.forward(threads, idle=idle, seconds=0.3)
    assert machine.counts == [1, 1, 2, 5, 8, 8]


def test_all_are_tried_more_and_more_seldom(machine: Machine) -> None:
    """A process may be due more than is idle."""
    threads = FreeThreads(4)
    for _ in range(160):
        with threads.forward():
            machine.now += 0.5
            machine.others += 0.5
            machine.waited += 1.0 if threads.count == 4 else 0.0
    tries = [number / 2 for number, count in enumerate(machine.counts) if count == 4]
    assert [later - one for one, later in pairwise(tries)] == [4.5, *[8.5] * 8]


def test_nothing_is_looked_at_within_a_short_forward(machine: Machine) -> None:
    threads = FreeThreads(4)
    for _ in range(3):
        machine.forward(threads, waiting=3, seconds=0.1)
        assert threads.count == 4
    machine.forward(threads)
    assert threads.count == 1


def test_work_of_this_process_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import time\nwhile time.process_time() < 0.5: pass"
    others = free_threads._others()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert free_threads._others() - others > 0.4
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(user=5.0, system=2.0, idle=100.0))
    assert free_threads._others() == pytest.approx(7.0 - time.process_time(), abs=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how long threads have waited")
def test_waiting_is_what_the_system_says() -> None:
    """Two processes on one core: each waits while the other runs."""
    code = """
import os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from jina_embeddings.engine.free_threads import _waited
print(flush=True)
waited, begun = _waited(), time.monotonic()
while time.monotonic() < begun + 0.5:
    pass
print(_waited() - waited)
"""
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    waited = [float(process.communicate(timeout=60)[0]) for process in both]
    assert max(waited) > 0.05


def test_an_engine_sets_the_number_only_where_it_was_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["one text", "a second one that is longer"]
    counts: list[int] = []
    monkeypatch.setattr(free_threads, "_WINDOW_S", 1e-9)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    with JinaEmbeddings("pocket", engine="torch") as model:
        expected = model.encode_text(texts)
    assert counts == []
    with JinaEmbeddings("pocket", engine="torch", cpu_threads="free") as model:
        for _ in range(2):
            assert np.allclose(model.encode_text(texts), expected, atol=1e-6)
    assert counts == [torch.get_num_threads()]


@pytest.mark.parametrize(("given", "expected"), [([], "free"), (["cpu_threads=all"], "all")])
def test_the_command_line_leaves_cores_to_others(given: list[str], expected: str) -> None:
    with ModelChoice.of(model="pocket", engine="fake", option=given).loaded() as model:
        assert model.options.cpu_threads == expected


@pytest.mark.parametrize("given", [[], ["cpu_threads=all"]])
def test_no_effect_is_said_of_threads_only_if_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(options.logger, "info", lambda message, *names: said.append(names))
    with ModelChoice.of(model="pocket", engine="fake", option=given).loaded():
        assert said == [("cpu_threads", "fake")][: len(given)]
