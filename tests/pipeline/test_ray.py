"""A run on a Ray cluster of this machine: each row is there once, whatever dies, and the files are as without Ray."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from deadly import WORD, dead_model, deadly_model, drive_on_ray, fake_code_model, fake_model, slow_model
from jina_embeddings.errors import DependencyError, EngineDeadError, OptionError, RunMismatchError
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


@pytest.mark.long
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
    # Nothing is left to do, whoever is asked.
    assert run.embed(deadly_model).rows_this_time == 0
    assert replace(run, cluster=cluster).embed(fake_model).rows_this_time == 0
    with pytest.raises(RunMismatchError, match="task was retrieval and is code"):
        replace(run, cluster=cluster).embed(fake_code_model)


@pytest.mark.long
def test_an_engine_that_dies_of_anything_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(EngineDeadError, match="without having got on"):
        replace(corpus(tmp_path), cluster=cluster).embed(dead_model)


@pytest.mark.long
def test_no_cluster_at_an_address(tmp_path: Path) -> None:
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(OptionError, match="there is no Ray cluster at"):
        replace(corpus(tmp_path), cluster=Cluster("127.0.0.1:1")).embed(fake_model)


@pytest.mark.parametrize("address", ["auto", "10.1.2.3:6379"])
@pytest.mark.parametrize("refused", [True, False], ids=["refused", "no token"])
def test_a_cluster_that_lets_nobody_in_without_a_token_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, refused: bool
) -> None:
    """It is not taken for no cluster, for which one of this machine alone would be made."""

    def init(**options: Any) -> None:
        if refused:
            raise ConnectionError("Failed to connect to Ray cluster at 10.1.2.3:6379")
        raise ray.exceptions.AuthenticationError("RAY_AUTH_TOKEN_PATH is set but empty: /there")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("jina_embeddings.pipeline.ray._check_address", lambda address: None)
    with pytest.raises(OptionError, match=r"can't connect .* (10.1.2.3|/there).*RAY_AUTH_MODE=token"):
        replace(corpus(tmp_path), cluster=Cluster(address)).embed(fake_model)


@pytest.mark.long
def test_the_address_that_a_killed_cluster_left_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if ray.is_initialized():
        ray.shutdown()
    # Ray's sockets are in this folder, and their paths are short.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()
        (Path(folder) / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        start = time.monotonic()
        assert replace(corpus(tmp_path), cluster=Cluster("auto", 1)).embed(fake_model).rows == NUM_ROWS
        assert time.monotonic() - start < 60


def workers_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children(recursive=True) if child.name().startswith("ray::Worker")]


def kill_on_ray(run: Run, seed: int, num_kills: int) -> None:
    """Begins a run on a cluster of its own; kills workers, then the driver with the cluster."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    choose = random.Random(seed)
    process = multiprocessing.get_context("spawn").Process(target=drive_on_ray, args=(run,))
    process.start()
    assert process.pid is not None
    kills = 0
    deadline = time.monotonic() + 300
    while kills < num_kills and process.is_alive() and time.monotonic() < deadline:
        time.sleep(choose.uniform(0.2, 1.0))
        if found := workers_of(process.pid):
            choose.choice(found).kill()
            kills += 1
    assert kills == num_kills
    for started in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with suppress(psutil.NoSuchProcess):
            started.kill()
    process.join()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_three_killed_workers_and_a_killed_driver_lose_nothing(tmp_path: Path, seed: int) -> None:
    """Every fifth run is finished by Ray again, the others by one host."""
    run = replace(corpus(tmp_path), cluster=Cluster("auto", 2))
    kill_on_ray(run, seed, 3)
    assert replace(run, cluster=None if seed % 5 else run.cluster).embed(fake_model).rows == NUM_ROWS
    assert table_of(run.into)["row"].to_pylist() == list(range(NUM_ROWS))


@pytest.mark.slow
def test_four_documents_of_ten_pages_lose_no_page(tmp_path: Path) -> None:
    for number in range(4):
        pages = [Image.new("RGB", (60, 60), (20 * page, 60 * number, 0)) for page in range(10)]
        pages[0].save(tmp_path / f"{number}.pdf", save_all=True, append_images=pages[1:])
    run = replace(corpus(tmp_path), inputs=sorted(map(str, tmp_path.glob("*.pdf"))), shard_rows=4)
    kill_on_ray(replace(run, cluster=Cluster("auto", 2)), 0, 2)
    assert replace(run, cluster=Cluster("auto", 2)).embed(fake_model).rows == 40
    table = table_of(run.into)
    assert table["id"].to_pylist() == [f"{path}#page={page}" for path in run.inputs for page in range(1, 11)]
    assert table["embedding"].null_count == 0


@pytest.mark.slow
def test_a_run_goes_on_when_a_node_goes(tmp_path: Path) -> None:
    """Two nodes of this machine, one of which is taken away in the middle and not replaced."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    utils = pytest.importorskip("ray.cluster_utils")
    local = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = local.add_node(num_cpus=1)
        run = replace(corpus(tmp_path), cluster=Cluster(local.address, 2))

        def take_away() -> None:
            while not (tmp_path / "v" / "shard-000001.parquet").exists():
                time.sleep(0.05)
            local.remove_node(second, allow_graceful=False)

        thread = threading.Thread(target=take_away)
        thread.start()
        summary = run.embed(slow_model)
        thread.join()
        assert (summary.rows, summary.restarts >= 1) == (NUM_ROWS, True)
        assert table_of(run.into)["row"].to_pylist() == list(range(NUM_ROWS))
    finally:
        local.shutdown()


def ray_start(*options: str) -> subprocess.Popen[str]:
    """A node, as `ray start` makes it, as long as the process lives."""
    ray_command = str(Path(sys.executable).with_name("ray"))
    node = subprocess.Popen(
        [ray_command, "start", "--block", "--num-cpus=1", "--disable-usage-stats", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert node.stdout is not None
    assert any("Ray runtime started" in line for line in node.stdout)
    return node


def kill_node(node: subprocess.Popen[str]) -> None:
    for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert node.stdout is not None
    node.stdout.close()
    node.wait()


@pytest.mark.slow
def test_nodes_that_are_started_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is killed in the middle, the driver later, and one host finishes what it had begun."""
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Paths of sockets are short, and the address of this cluster is noted where no other run looks.
    monkeypatch.setenv("RAY_TMPDIR", folder := tempfile.mkdtemp(dir="/tmp"))
    nodes = [ray_start("--head", f"--port={port}", "--include-dashboard=false")]
    try:
        nodes.append(ray_start(f"--address=127.0.0.1:{port}"))
        run = corpus(tmp_path)
        replace(run, share=Share(1, 3)).embed(fake_model)
        on_ray = replace(run, cluster=Cluster(f"127.0.0.1:{port}", 2))
        driver = multiprocessing.get_context("spawn").Process(target=drive_on_ray, args=(on_ray,))
        driver.start()
        kills: list[tuple[int, Callable[[], object]]] = [(3, lambda: kill_node(nodes.pop())), (4, driver.kill)]
        for num_shards, kill in kills:
            deadline = time.monotonic() + 120
            while len(list(Path(run.into).glob("shard-*.parquet"))) < num_shards:
                assert time.monotonic() < deadline
                assert driver.is_alive()
                time.sleep(0.02)
            kill()
        driver.join()
        assert status(run.into).shards_done < 6
        assert run.embed(fake_model).rows == NUM_ROWS
        table = table_of(run.into)
        assert table["row"].to_pylist() == list(range(NUM_ROWS))
        alone = replace(run, into=tmp_path / "alone")
        alone.embed(fake_model)
        assert table.equals(table_of(alone.into))
    finally:
        for node in nodes:
            kill_node(node)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_a_node_without_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if ray.is_initialized():
        ray.shutdown()
    (tmp_path / "jina_embeddings").mkdir()
    (tmp_path / "jina_embeddings" / "__init__.py").write_text("raise ModuleNotFoundError('No module named it')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        DependencyError, match=r"a Ray worker on [\d.]+ can't import .*No module named it.* on every node"
    ):
        replace(corpus(tmp_path), cluster=Cluster("auto", 1)).embed(fake_model)
