"""Several processes that share a port, in front of one engine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pybase64
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.server.assembly import Settings
from jina_embeddings.server.limits import Budget, Claim, Limits
from jina_embeddings.server.statuses import RequestError
from jina_embeddings.server.values import Item
from served import COMMAND, KEY, Served, drain, free_port, serving

TEXTS = ["one text", "another one"]
PROCESSES = 2


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, "--front-ends", str(PROCESSES), "--drain", "1", "--deadline", "5") as server:
        # The first may answer before the second listens.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and len(answering(server)) < PROCESSES:
            time.sleep(0.2)
        yield server


def front_ends(served: Served) -> list[psutil.Process]:
    """The processes that listen, without multiprocessing's own."""
    children = psutil.Process(served.process.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def answering(served: Served) -> set[int]:
    """The process ids of those that listen on the port."""
    port = int(served.address.rpartition(":")[2])
    return {
        process.pid
        for process in front_ends(served)
        if any(connection.laddr.port == port for connection in process.net_connections("tcp") if connection.laddr)
    }


def ask(served: Served, times: int = 1) -> list[httpx.Response]:
    """Each time by a new connection, which any of the processes may get."""
    answers = []
    for _ in range(times):
        with served.client() as client:
            answers.append(client.post("/v1/embeddings", json={"input": TEXTS, "encoding_format": "base64"}))
    return answers


@pytest.mark.long
def test_all_front_ends_answer_with_the_vectors_of_one_engine_and_count_together(served: Served) -> None:
    with JinaEmbeddings(engine="fake") as model:
        expected = model.encode_text(TEXTS, task="text-matching")
    for answer in ask(served, 24):
        rows = [pybase64.b64decode(entry["embedding"]) for entry in answer.json()["data"]]
        np.testing.assert_array_equal([np.frombuffer(row, np.float32) for row in rows], expected)
    assert len(answering(served)) == PROCESSES
    expected_lines = {'jina_requests_total{route="/v1/embeddings",status="200"} 24.0', "jina_tokens_under_way 0.0"}
    deadline = time.monotonic() + 30
    with served.client() as client:
        # Others write what they have counted a moment later.
        while not expected_lines <= (lines := set(client.get("/metrics").text.splitlines())):
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)


@pytest.mark.long
def test_drained_front_ends_answer_what_they_accepted_and_end_well(served: Served) -> None:
    left = front_ends(served)
    # Ctrl-C would reach them twice otherwise, and a second signal ends them at once.
    assert all(os.getsid(process.pid) != os.getsid(served.process.pid) for process in left)
    drain(served)
    assert not any(process.is_running() for process in left)


@pytest.mark.long
def test_a_front_end_that_dies_ends_the_server_with_an_error(served: Served, tmp_path: Path) -> None:
    os.kill(front_ends(served)[0].pid, signal.SIGKILL)
    assert served.process.wait(20) == 2
    assert "a front end has ended" in (tmp_path / "stderr").read_text()


@pytest.mark.long
def test_no_front_end_outlives_the_process_with_the_engine(served: Served) -> None:
    left = front_ends(served)
    served.process.kill()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not alive


@pytest.mark.long
def test_all_front_ends_read_the_keys_again(served: Served, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("another-key\n")
    served.process.send_signal(signal.SIGHUP)
    wait_until_all_answer(served, 401)
    (tmp_path / "keys.txt").write_text(f"{KEY}\n")
    served.process.send_signal(signal.SIGHUP)
    wait_until_all_answer(served, 200)


def wait_until_all_answer(served: Served, status: int) -> None:
    deadline = time.monotonic() + 30
    while (statuses := {answer.status_code for answer in ask(served, 12)}) != {status}:
        assert time.monotonic() < deadline, statuses


@pytest.mark.long
def test_a_port_in_use_is_refused_since_it_would_be_shared() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [*COMMAND, "--engine", "fake", "--front-ends", "2", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr


def test_limits_a_minute_are_refused_with_front_ends() -> None:
    command = [*COMMAND, "--engine", "fake", "--front-ends", "2", "--requests-per-minute", "9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "leave out --front-ends" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(("after_s", "terminal"), [(0.0, True), (0.2, False), (1.0, False)])
def test_front_ends_that_are_told_to_end_while_they_start_end_well(
    tmp_path: Path, after_s: float, terminal: bool
) -> None:
    """terminal: by Ctrl-C, which every process of the terminal gets that hasn't left it."""
    port = str(free_port())
    command = [*COMMAND, "--engine", "fake", "--front-ends", "2", "--port", port, "--drain", "0", "--deadline", "1"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            starting = psutil.Process(process.pid)
            deadline = time.monotonic() + 60
            # The first of its children is multiprocessing's own.
            while len(children := starting.children()) < 1 + PROCESSES and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(after_s)
            if terminal:
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, (tmp_path / "log").read_text()
            assert psutil.wait_procs(children, timeout=30)[1] == []
        finally:
            process.kill()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.long
def test_a_front_end_that_is_ended_by_another_ends_the_server_at_once(served: Served, tmp_path: Path) -> None:
    os.kill(front_ends(served)[0].pid, signal.SIGTERM)
    assert served.process.wait(10) == 2
    assert "a front end has ended" in (tmp_path / "stderr").read_text()


def test_front_ends_share_what_may_be_under_way() -> None:
    share = Settings(front_ends=4, decoders=4, limits=Limits(max_tokens_under_way=1000, max_inputs=10)).share
    assert share.limits.max_inputs == 10
    assert share.decoders == 1
    budget = Budget(share.limits, 10_000)

    def status_of(claim: Claim, tokens: int) -> int:
        try:
            claim.take_items([Item("text", "x" * (tokens - 8))])
        except RequestError as error:
            return error.status
        return 200

    with budget.claim() as first, budget.claim() as second:
        assert status_of(first, 150) == 200
        assert [status_of(second, tokens) for tokens in (101, 100, 1)] == [429, 200, 429]
    # What one server takes, a front end takes too, if nothing else is under way in it.
    with budget.claim() as first, budget.claim() as second:
        assert status_of(first, 1001) == 413
        assert status_of(first, 1000) == 200
        assert status_of(second, 10) == 429
    assert budget.num_tokens == 0
