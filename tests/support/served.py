"""Servers for tests: the application alone, and `jina-embeddings serve` as a process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Index
from jina_embeddings.server.app import make_app
from jina_embeddings.server.decoders import Decoders
from jina_embeddings.server.decoding import Form
from jina_embeddings.server.gate import Gate, State
from jina_embeddings.server.keys import Keys
from jina_embeddings.server.ledger import Ledger
from jina_embeddings.server.limits import Budget, Limits
from jina_embeddings.server.media import Media, UrlPolicy
from jina_embeddings.server.metrics import Metrics
from jina_embeddings.server.rates import Rates
from jina_embeddings.server.request_log import RequestLog
from jina_embeddings.server.service import Service
from jina_embeddings.server.spans import Spans
from jina_embeddings.server.values import Decode

COMMAND = [sys.executable, "-c", "from jina_embeddings.cli import main; main()", "serve"]
KEY = "a-key"


@dataclass(frozen=True, slots=True)
class App:
    """The application and what stands behind it."""

    app: ASGIApp
    service: Service
    gate: Gate
    media: Media
    decoders: Decoders


def app_of(
    model: JinaEmbeddings,
    keys: Keys | None = None,
    limits: Limits | None = None,
    *,
    rates: Rates | None = None,
    urls: UrlPolicy | None = None,
    decode: Decode | None = None,
    index: Index | None = None,
    spans: Spans | None = None,
    log: RequestLog | None = None,
) -> App:
    """As the command makes it."""
    limits = limits or Limits()
    decoders = Decoders(1)
    media = Media(Form(model.image_config), limits, urls or UrlPolicy(), decoders)
    service = Service(model, media, decode=decode, index=index)
    budget = Budget(limits, model.info.max_length)
    ledger = Ledger(budget, Metrics(), log or RequestLog(), spans or Spans())
    gate = Gate(keys or Keys(), rates or Rates(), budget, State(), ledger)
    return App(make_app(service, gate), service, gate, media, decoders)


@contextmanager
def app_on_fake(**options: Any) -> Iterator[App]:
    """The application on a model of the fake engine, until the block ends. options: those of `app_of`."""
    with JinaEmbeddings(engine="fake") as model:
        served = app_of(model, **options)
        try:
            yield served
        finally:
            served.media.close()


@dataclass(frozen=True, slots=True)
class Served:
    """address: of the server, without a path."""

    process: subprocess.Popen[str]
    address: str

    def client(self, **options: object) -> httpx.Client:
        """With a key that is let in."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60, **options)  # type: ignore[arg-type]


@contextmanager
def serving(folder: Path, *options: str, engine: str = "fake") -> Iterator[Served]:
    """A server with `KEY` in its key file, until the block ends. folder: for that file and the server's output."""
    (folder / "keys.txt").write_text(f"{KEY}\n")
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [*COMMAND, "--engine", engine, "--port", str(port), "--api-key-file", str(folder / "keys.txt"), *options]
    with (
        (folder / "stdout").open("w") as stdout,
        (folder / "stderr").open("w") as stderr,
        subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True) as process,
    ):
        try:
            wait_until_ready(address, process, folder / "stderr")
            yield Served(process, address)
        finally:
            process.kill()


def wait_until_ready(address: str, process: subprocess.Popen[str], stderr: Path, within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"the server ended: {stderr.read_text()}")
        try:
            if httpx.get(f"{address}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"the server was not ready in {within_s:g} s")


def drain(served: Served) -> None:
    """Asks while the server is told to end: every request is answered that it has accepted."""
    process, address = served.process, served.address
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with served.client() as asking:
            while not stop.is_set():
                try:
                    statuses.append(asking.post("/v1/embeddings", json={"input": ["one text"]}).status_code)
                except httpx.TransportError:
                    return  # the listener is closed; a connection that it had not accepted is reset

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    process.send_signal(signal.SIGTERM)
    # While it drains, it still answers, and is not ready.
    while (status := httpx.get(f"{address}/health/ready").status_code) == 200:
        time.sleep(0.01)
    assert status == 503
    assert httpx.get(f"{address}/health/live").status_code == 200
    assert process.wait(30) == 0
    stop.set()
    for asker in askers:
        asker.join(10)
    assert set(statuses) == {200}


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
