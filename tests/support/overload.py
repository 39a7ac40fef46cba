"""Loads a server beyond its capacity, by a client that costs little: it shares the processor with the server.

A client that parsed every answer would take longer for that than the server for a refusal, and would measure itself.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from served import KEY, Served

NUM_ACTIVE = 100
NUM_IDLE = 400
# Of the budget of 4 Mi tokens a request takes 96 x 1,358, and so about 32 fit.
_BODY = json.dumps(
    {"input": ["one of many texts that are not so very short " * 30] * 96, "embedding_type": "base64"}
).encode()
_TICK_S = 0.01


class Connection:
    """One connection that stays open."""

    def __init__(self, served: Served):
        self._address = address_of(served)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes, float]:
        """The status of the answer, its headers, and seconds from the first byte sent to the last received."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=2**24)
        reader, writer = self._streams
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        writer.write(head.encode() + body)
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(header(headers, b"content-length")))
        return int(headers.split(b" ", 2)[1]), headers, time.perf_counter() - began


@dataclass(slots=True)
class Found:
    """What a load has found; times in milliseconds. late_ms: how late the client's own event loop was."""

    statuses: Counter[int] = field(default_factory=Counter)
    refused_ms: list[float] = field(default_factory=list)
    ready_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)


async def overloaded(served: Served, seconds: float, times: float = 3.0) -> dict[str, Any]:
    """100 connections ask for so many times what the server can answer, 400 are idle or slow."""
    warm = max(10.0, seconds / 10)
    await Connection(served).ask("POST", "/v1/embeddings", _BODY)
    possible = await _during(warm, lambda found, until: [_ask(served, found, until, 0.0) for _ in range(4)])
    capacity = possible.statuses[200] / warm
    # Those that wait for their vectors ask for nothing meanwhile: about 30 of the 100.
    every_s = (NUM_ACTIVE - 30) / (times * capacity)

    def load(found: Found, until: float) -> list[Awaitable[None]]:
        return [
            *(_ask(served, found, until, every_s) for _ in range(NUM_ACTIVE)),
            *(_idle(served, until, slow=number % 2 == 1) for number in range(NUM_IDLE)),
            _look(served, found, until),
            _tick(found, until),
        ]

    found = await _during(seconds, load)
    return {
        "requests_per_s_possible": round(capacity, 2),
        "answered_of_possible": round(found.statuses[200] / seconds / capacity, 2),
        "asked_of_possible": round(found.statuses.total() / seconds / capacity, 2),
        "statuses": dict(found.statuses),
        **percentiles("refused", found.refused_ms),
        **percentiles("ready", found.ready_ms),
        **percentiles("client_late", found.late_ms),
    }


async def _during(seconds: float, load: Callable[[Found, float], list[Awaitable[None]]]) -> Found:
    found = Found()
    await asyncio.gather(*load(found, time.monotonic() + seconds))
    return found


async def _ask(served: Served, found: Found, until: float, every_s: float) -> None:
    """One request after another, at most one in `every_s` seconds."""
    connection = Connection(served)
    due = time.monotonic() + every_s * random.random()
    while due < until:
        await asyncio.sleep(due - time.monotonic())
        status, headers, took = await connection.ask("POST", "/v1/embeddings", _BODY)
        found.statuses[status] += 1
        if status == 429:
            assert int(header(headers, b"retry-after")) >= 1
            found.refused_ms.append(1000 * took)
        due = max(due + every_s, time.monotonic())


async def _look(served: Served, found: Found, until: float) -> None:
    connection = Connection(served)
    while time.monotonic() < until:
        status, _, took = await connection.ask("GET", "/health/ready")
        assert status == 200
        found.ready_ms.append(1000 * took)
        await asyncio.sleep(0.1)


async def _idle(served: Served, until: float, *, slow: bool) -> None:
    """Connections that send nothing, or headers piece by piece, and leave."""
    while time.monotonic() < until:
        _, writer = await asyncio.open_connection(*address_of(served))
        for piece in (b"POST /v1/embeddings HT", b"TP/1.1\r\nHost: x\r\n", b"Content-Le"):
            if slow:
                writer.write(piece)
            await asyncio.sleep(min(5.0, max(0.0, until - time.monotonic())))
        writer.close()


async def _tick(found: Found, until: float) -> None:
    while (began := time.monotonic()) < until:
        await asyncio.sleep(_TICK_S)
        found.late_ms.append(1000 * (time.monotonic() - began - _TICK_S))


def address_of(served: Served) -> tuple[str, int]:
    host, port = served.address.removeprefix("http://").split(":")
    return host, int(port)


def header(headers: bytes, name: bytes) -> bytes:
    """The value of a header, whose name is in lower case."""
    return headers.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()


def percentiles(name: str, values: list[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    return {
        f"{name}_p{percent}_ms": round(ordered[percent * (len(ordered) - 1) // 100], 1) if ordered else None
        for percent in (50, 99)
    }
