"""The server as a process: a real client against it, and draining on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.server import lifecycle
from jina_embeddings.server.app import State

COMMAND = [sys.executable, "-c", "from jina_embeddings.cli import main; main()", "serve", "--engine", "fake"]
TEXTS = ["one text", "another one"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    (tmp_path / "keys.txt").write_text("a-key\n")
    port = free_port()
    options = ["--port", str(port), "--api-key-file", str(tmp_path / "keys.txt"), "--drain", "1"]
    with subprocess.Popen([*COMMAND, *options], stderr=subprocess.PIPE, text=True) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(address, process)
            yield process, address
        finally:
            process.kill()


def wait_until_ready(address: str, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(f"the server ended: {process.communicate()[1]}")
        try:
            if httpx.get(f"{address}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("the server was not ready in a minute")


def test_openais_client_gets_the_librarys_vectors(server: tuple[subprocess.Popen[str], str]) -> None:
    _, address = server
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="a-key")
    answer = client.embeddings.create(model="jina-embeddings-v4", input=TEXTS, dimensions=256)
    found = np.array([entry.embedding for entry in answer.data], dtype=np.float32)
    expected = JinaEmbeddings(engine="fake").encode_text(TEXTS, task="text-matching", truncate_dim=256)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0).models.list()


def test_a_drained_server_answers_what_it_accepted_and_ends_well(server: tuple[subprocess.Popen[str], str]) -> None:
    process, address = server
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=address, headers={"Authorization": "Bearer a-key"}) as asking:
            while not stop.is_set():
                try:
                    statuses.append(asking.post("/v1/embeddings", json={"input": TEXTS}).status_code)
                except httpx.TransportError:
                    return  # the listener is closed; a connection that it had not accepted is reset

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    # It says so while it still answers.
    assert httpx.get(f"{address}/health/ready").status_code == 503
    assert httpx.get(f"{address}/health/live").status_code == 200
    assert process.wait(30) == 0
    stop.set()
    for asker in askers:
        asker.join(10)
    assert set(statuses) == {200}


def test_without_keys_only_this_machine_is_served() -> None:
    done = subprocess.run([*COMMAND, "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "give --api-key-file" in done.stderr


@pytest.mark.parametrize(("busy", "ended"), [(True, False), (False, True)])
def test_a_busy_engine_is_no_hanging_one(monkeypatch: pytest.MonkeyPatch, busy: bool, ended: bool) -> None:
    """A heartbeat waits behind what came before it."""

    class Slow(FakeEngine):
        async def arun(self, batch: Any, **options: Any) -> Any:
            await asyncio.sleep(60)

    monkeypatch.setattr(lifecycle, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(lifecycle, "HANGING_S", 0.3)
    monkeypatch.setattr(lifecycle, "_LOOK_S", 0.02)
    server: Any = SimpleNamespace(should_exit=False)
    state = State()

    async def main() -> None:
        watch = asyncio.ensure_future(lifecycle._watch(server, JinaEmbeddings(engine=Slow()), state))
        for _ in range(20):
            await asyncio.sleep(0.05)
            if busy:
                state.answered_at = asyncio.get_running_loop().time()
        watch.cancel()

    asyncio.run(main())
    assert server.should_exit == ended
    assert state.healthy != ended
