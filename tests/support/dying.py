"""Ends the engine of a server under load, and tells what its clients see of that."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

_IN_A_ROW = 5


@dataclass(slots=True)
class Ended:
    """
    seconds: from the end of the engine until the server told that it isn't ready.
    statuses: of the answers that all clients got.
    lost: requests that an accepted connection was closed on.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0


def ended_under_load(address: str, process: subprocess.Popen[str], end: Callable[[], object], clients: int) -> Ended:
    """Ends the engine once clients have got some vectors, and waits until the server has ended and nobody waits."""
    ended = Ended()
    askers = [threading.Thread(target=_ask, args=(address, ended)) for _ in range(clients)]
    for asker in askers:
        asker.start()
    wait_for(lambda: ended.statuses[200] > 50)
    end()
    began = time.monotonic()
    in_a_row = 0
    while in_a_row < _IN_A_ROW:
        # Another front end may answer each time.
        ready = httpx.get(f"{address}/health/ready", timeout=5).status_code == 200
        if in_a_row == 0:
            ended.seconds = time.monotonic() - began
        in_a_row = 0 if ready else in_a_row + 1
        time.sleep(0.02)
    process.wait(120)
    for asker in askers:
        asker.join(30)
        assert not asker.is_alive()
    return ended


def _ask(address: str, ended: Ended) -> None:
    """Until the server's listener is closed."""
    with httpx.Client(base_url=address, timeout=120) as client:
        while True:
            try:
                answer = client.post("/v1/embeddings", json={"input": ["one text", "another"]})
            except httpx.ConnectError:
                return
            except httpx.TransportError:
                ended.lost += 1
            else:
                ended.statuses[answer.status_code] += 1


def wait_for(holds: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
