"""The server as a process: draining on SIGTERM, and an engine that no longer answers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.server import lifecycle
from jina_embeddings.server.gate import State
from served import COMMAND, Served, serving

TEXTS = ["one text", "another one"]


def test_a_drained_server_answers_what_it_accepted_and_ends_well(tmp_path: Path) -> None:
    with serving(tmp_path, "--drain", "5") as served:
        drain(served)


def drain(served: Served) -> None:
    process, address = served.process, served.address
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with served.client() as asking:
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
    done = subprocess.run(
        [*COMMAND, "--engine", "fake", "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "give --api-key-file" in done.stderr


@pytest.mark.parametrize(("busy", "ended"), [(True, False), (False, True)])
def test_a_busy_engine_is_no_hanging_one(monkeypatch: pytest.MonkeyPatch, busy: bool, ended: bool) -> None:
    """A heartbeat waits behind what came before it."""

    class Slow(FakeEngine):
        hang_s = 0.3

        async def arun(self, batch: Any, **options: Any) -> Any:
            await asyncio.sleep(60)

    monkeypatch.setattr(lifecycle, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(lifecycle, "_LOOK_S", 0.02)
    server: Any = SimpleNamespace(should_exit=False)
    state = State()
    service: Any = SimpleNamespace(model=JinaEmbeddings(engine=Slow()), answered_at=0.0)

    async def main() -> None:
        watch = asyncio.ensure_future(lifecycle._watch(server, service, state))
        for _ in range(20):
            await asyncio.sleep(0.05)
            if busy:
                service.answered_at = asyncio.get_running_loop().time()
        watch.cancel()

    asyncio.run(main())
    assert server.should_exit == ended
    assert state.healthy != ended
