"""A run on a Ray cluster of this machine: every row once, whoever dies, and the same files as without Ray."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deadly import WORD, dead_model, deadly_model, fake_model, slow_model
from jina_embeddings.errors import EngineDeadError, OptionError
from jina_embeddings.pipeline import Cluster, Form, Run, Share, status

ray = pytest.importorskip("ray")

NUM_ROWS = 600


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two workers on a cluster of this machine, whose processes find what the tests import."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield Cluster("auto", 2)
    ray.shutdown()


def corpus(folder: Path, deadly: int | None = None) -> Run:
    rows = [f"a {WORD} row" if n == deadly else f"row {n}" for n in range(NUM_ROWS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return Run([str(folder / "rows.jsonl")], folder / "v", Form(truncate_dim=128), shard_rows=100)


def table_of(folder: Any) -> pa.Table:
    return pq.read_table(sorted(Path(folder).glob("*.parquet")))


def test_a_run_begun_on_one_host_is_finished_by_ray_and_a_deadly_row_rejected(cluster: Cluster, tmp_path: Path) -> None:
    run = corpus(tmp_path, deadly=333)
    replace(run, share=Share(1, 2)).embed(fake_model)  # the deadly row is in the other share
    summary = replace(run, cluster=cluster).embed(deadly_model)
    assert (summary.rows, summary.rejected, summary.rows_this_time) == (NUM_ROWS, 1, 300)
    assert 3 <= summary.restarts <= 8
    table = table_of(run.into)
    assert table["row"].to_pylist() == list(range(NUM_ROWS))
    assert [row for row, code in enumerate(table["error_code"].to_pylist()) if code] == [333]
    alone = replace(run, into=tmp_path / "alone")
    assert alone.embed(deadly_model).rejected == 1
    assert table.equals(table_of(alone.into))
    # And there is nothing left for one host.
    assert run.embed(deadly_model).rows_this_time == 0


def test_an_engine_that_dies_of_anything_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(EngineDeadError, match="without having got on"):
        replace(corpus(tmp_path), cluster=cluster).embed(dead_model)


def test_no_cluster_at_an_address(tmp_path: Path) -> None:
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(OptionError, match="there is no Ray cluster at"):
        replace(corpus(tmp_path), cluster=Cluster("127.0.0.1:1")).embed(fake_model)


def drive(run: Run) -> None:
    os.setsid()
    run.embed(slow_model)


def workers_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children(recursive=True) if child.name().startswith("ray::Worker")]


@pytest.mark.slow
def test_killed_workers_and_drivers_lose_nothing(tmp_path: Path) -> None:
    """Three workers and a driver are killed, five times over."""
    choose = random.Random(3)
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = replace(corpus(folder), cluster=Cluster("auto", 2))
        process = multiprocessing.get_context("spawn").Process(target=drive, args=(run,))
        process.start()
        assert process.pid is not None
        kills = 0
        deadline = time.monotonic() + 300
        while kills < 3 and process.is_alive() and time.monotonic() < deadline:
            time.sleep(choose.uniform(0.2, 1.0))
            if found := workers_of(process.pid):
                choose.choice(found).kill()
                kills += 1
        assert kills == 3
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        assert status(run.into).rows_done < NUM_ROWS or number
        assert run.embed(fake_model).rows == NUM_ROWS
        assert table_of(run.into)["row"].to_pylist() == list(range(NUM_ROWS))


@pytest.mark.slow
def test_two_nodes_share_a_run(tmp_path: Path) -> None:
    """A node is killed in the middle; the other does the rest."""
    binary = str(Path(sys.executable).parent / "ray")
    subprocess.run([binary, "start", "--head", "--port=6399", "--num-cpus=1", "--include-dashboard=false"], check=True)
    try:
        subprocess.run([binary, "start", "--address=127.0.0.1:6399", "--num-cpus=1"], check=True)
        run = replace(corpus(tmp_path), cluster=Cluster("127.0.0.1:6399", 2))
        timer = threading.Timer(8, kill_a_worker)
        timer.start()
        assert run.embed(slow_model).rows == NUM_ROWS
        timer.join()
        assert table_of(run.into)["row"].to_pylist() == list(range(NUM_ROWS))
    finally:
        subprocess.run([binary, "stop", "--force"], check=True)


def kill_a_worker() -> None:
    for process in psutil.process_iter(["name"]):
        if process.info["name"].startswith("ray::Worker"):
            process.kill()
            return
