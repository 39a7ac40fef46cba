"""The server as a process: draining on SIGTERM, and an engine that no longer answers."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.fill import Fill
from jina_embeddings.server import lifecycle
from jina_embeddings.server.gate import State
from jina_embeddings.server.ledger import Ledger
from jina_embeddings.server.limits import Budget, Limits
from jina_embeddings.server.listening import listening_socket, turn_away
from jina_embeddings.server.metrics import Metrics
from jina_embeddings.server.request_log import RequestLog
from jina_embeddings.server.signals import Acts
from jina_embeddings.server.spans import Spans
from served import COMMAND, app_of, drain, free_port, serving, wait_until_ready

TEXTS = ["one text", "another one"]


@pytest.mark.long
def test_a_drained_server_answers_what_it_accepted_and_ends_well(tmp_path: Path) -> None:
    with serving(tmp_path, "--drain", "5") as served:
        drain(served)


def test_without_keys_only_this_machine_is_served() -> None:
    done = subprocess.run(
        [*COMMAND, "--engine", "fake", "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "give --api-key-file" in done.stderr


@pytest.mark.long
def test_a_drain_waits_for_requests_that_have_begun_to_arrive_until_its_deadline(tmp_path: Path) -> None:
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-key\r\nContent-Length: 14\r\n"
    begun = [b"", head, head + b"\r\n", head + b"\r\n" + b'{"input": ', head + b"\r\n" + b'{"input": ']
    with serving(tmp_path, "--drain", "0", "--deadline", "4") as served, ExitStack() as stack:
        port = int(served.address.rpartition(":")[2])
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in begun]
        for client, data in zip(clients, begun, strict=True):
            client.sendall(data)
        time.sleep(0.5)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(2)
        clients[-1].sendall(b'"a"}')
        nothing, no_headers, no_body, half, whole = (received(client) for client in clients)
        # Nobody knows yet what they ask for, so their connections are closed.
        assert (nothing, no_headers) == (b"", b"")
        for answer in (no_body, half):
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'"code":"SERVER_ENDING"' in answer
        assert whole.startswith(b"HTTP/1.1 200 ")
        assert served.process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def received(client: socket.socket) -> bytes:
    """All that arrives until the server closes the connection."""
    return b"".join(iter(partial(client.recv, 2**16), b""))


def test_what_cannot_be_served_is_said_before_a_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for options, says in (
            (["--port", port], f"error [unknown_option]: port {port} of 127.0.0.1 can't be used: Address already in"),
            (
                ["--host", "localhost.invalid", "--api-key-file", str(tmp_path / "keys.txt")],
                "of localhost.invalid can't",
            ),
            (["--port", str(free_port()), "--index", "no.index"], "error [index_not_found]: there is no index at no."),
        ):
            (tmp_path / "keys.txt").write_text("a-key\n")
            # A model that isn't there either, or the time would pass in which it is loaded.
            command = [*COMMAND, "--model", str(tmp_path / "no_model"), *options]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stdout) == (2, "")
            assert says in done.stderr


@pytest.mark.long
def test_the_address_is_said_once_it_answers(tmp_path: Path) -> None:
    port = free_port()
    command = [*COMMAND, "--engine", "fake", "--host", "::1", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == f"fake on http://[::1]:{port}\n"
            assert httpx.get(f"http://[::1]:{port}/health/ready").status_code == 200
        finally:
            process.kill()


def test_every_address_of_the_machine_is_that_of_ipv4_too() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with listening_socket("::", port := free_port()), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


@pytest.mark.parametrize(("busy", "ended"), [(True, False), (False, True)])
def test_a_busy_engine_is_not_taken_for_a_hanging_one(monkeypatch: pytest.MonkeyPatch, busy: bool, ended: bool) -> None:
    """A heartbeat queues behind earlier calls, so a late answer alone is no sign of a dead engine."""

    class Slow(FakeEngine):
        hang_s = 0.3

        async def arun(self, batch: Any, **options: Any) -> Any:
            await asyncio.sleep(60)

    monkeypatch.setattr(lifecycle, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(lifecycle, "_LOOK_S", 0.02)
    monkeypatch.setattr(lifecycle, "_LINGER_S", 0.0)
    server: Any = SimpleNamespace(should_exit=False)
    served = app_of(JinaEmbeddings(engine=Slow()))

    async def main() -> None:
        watch = asyncio.ensure_future(lifecycle._watch(server, served.service, served.gate))
        for _ in range(20):
            await asyncio.sleep(0.05)
            if busy:
                served.service.answered_at = asyncio.get_running_loop().time()
        watch.cancel()

    asyncio.run(main())
    assert server.should_exit == ended
    assert served.gate.state.healthy != ended


def test_gauges_follow_what_is_under_way_while_nothing_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another front end tells of them, and reads what this one has written last."""
    monkeypatch.setattr(lifecycle, "_LOOK_S", 0.02)
    metrics, budget = Metrics(), Budget(Limits(), 100)
    gate: Any = SimpleNamespace(state=State(), ledger=Ledger(budget, metrics, RequestLog(), Spans()))

    async def main() -> None:
        with JinaEmbeddings(engine="fake") as model, budget.claim() as claim:
            watch = asyncio.ensure_future(lifecycle._watch(Mock(), Mock(model=model, answered_at=0.0), gate))
            claim.take_bytes(1000)
            await asyncio.sleep(0.2)
            watch.cancel()

    asyncio.run(main())
    assert b"jina_bytes_under_way 1000.0" in metrics.render(Fill())


ENDING = """
import asyncio, sys, threading
from jina_embeddings import JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.server.lifecycle import serve
from served import app_of

class Ending(FakeEngine):
    hang_s = 5.0
    async def arun(self, batch, **options):
        if self.ended:
            await asyncio.sleep(600)
        return self.run(batch)
    ended = False
    @property
    def alive(self):
        return not (self.ended and sys.argv[2] == "dies")

engine = Ending()
served = app_of(JinaEmbeddings(engine=engine))
threading.Timer(3, lambda: setattr(engine, "ended", True)).start()
well = serve(served.app, served.service, served.gate, host="127.0.0.1", port=int(sys.argv[1]), drain_s=0, deadline_s=5)
sys.exit(0 if well else 2)
"""


@pytest.mark.long
@pytest.mark.parametrize(("how", "within_s"), [("dies", 2), ("hangs", 15)])
def test_an_engine_that_ends_is_seen_and_nobody_waits_for_it(tmp_path: Path, how: str, within_s: float) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", ENDING, str(port), how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, text=True) as process,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        wait_until_ready(address, process, tmp_path / "log")
        statuses: list[int] = []
        kept = set[tuple[int, str]]()

        def ask() -> None:
            with httpx.Client(base_url=address, timeout=60) as asking, suppress(httpx.TransportError):
                while True:
                    answer = asking.post("/v1/embeddings", json={"input": "a"})
                    statuses.append(answer.status_code)
                    kept.add((answer.status_code, answer.headers.get("connection", "keep-alive")))

        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        # The last answer came just before the engine ended.
        num_answered, last = 0, time.monotonic()
        while client.get("/health/ready").status_code == 200:
            if statuses.count(200) > num_answered:
                num_answered, last = statuses.count(200), time.monotonic()
            time.sleep(0.05)
        assert time.monotonic() - last < within_s
        assert process.wait(30) == 2
        for asker in askers:
            asker.join(10)
            assert not asker.is_alive()
    # Requests that waited were answered, rather than disconnected.
    assert statuses.count(503) >= 3
    assert set(statuses) == {200, 503}
    # Nobody sends another request on a connection that is about to be closed.
    assert kept == {(200, "keep-alive"), (503, "close")}


def test_a_listener_that_turns_away_has_no_connection_to_lose_when_it_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            turn_away(listening)
            # What had arrived before is still accepted.
            listening.accept()[0].close()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                socket.create_connection(("127.0.0.1", port), timeout=0.1)
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_objects_that_stay_are_not_collected_while_the_server_runs() -> None:
    """Traversing a model's modules would pause every request."""
    before, threshold = gc.get_freeze_count(), gc.get_threshold()
    counts: list[int] = []
    with lifecycle.rarely_collected():
        counts.append(gc.get_freeze_count())
        assert gc.get_threshold()[0] > threshold[0]
    assert counts[0] > before + 10_000
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == threshold


def test_a_signal_waits_for_the_event_loop_and_a_second_one_ends_the_start() -> None:
    acts, called = Acts(), list[int]()
    acts.add(lambda: called.append(1))
    with pytest.raises(KeyboardInterrupt):
        acts.add(lambda: called.append(2))

    async def serve() -> None:
        acts.begin(asyncio.get_running_loop())
        assert not called
        await asyncio.sleep(0)
        acts.add(lambda: called.append(3))
        await asyncio.sleep(0.01)

    asyncio.run(serve())
    assert called == [1, 2, 3]
