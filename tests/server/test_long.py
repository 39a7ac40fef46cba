"""Attacks and load in their long form: `make test-server-long`, or one of them by `-k`.

Each writes what it found into `benchmarks/results/serving_long.json`. `JINA_EMBEDDINGS_LONG_SHARE=0.01` runs a
hundredth of each.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import hypothesis.strategies as st
import psutil
import pytest
from starlette.testclient import TestClient

from hostile import (
    MB,
    MODES,
    POSTS,
    OneByOne,
    bodies,
    chunk,
    drained,
    encoded,
    leave,
    many_frames,
    operation,
    pdf,
    png,
    require_true,
    saved,
    zeros,
)
from inputs import picture
from jina_embeddings import JinaEmbeddings
from long_results import SHARE, keep, share
from overload import overloaded
from served import App, Served, app_of, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def many(count: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=count, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), database=None
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", POSTS)
def test_the_openapi_document_is_true(app: App, client: TestClient, path: str, mode: str) -> None:
    found, statuses = operation(app, path), Counter[int]()

    @many(share(1000))
    @hypothesis.given(case=found.as_strategy(generation_mode=MODES[mode]))
    def send(case: Any) -> None:
        statuses[require_true(client, found, case, mode)] += 1

    send()
    keep(f"schemathesis {mode} {path}", requests=statuses.total(), statuses=dict(statuses))
    assert not [status for status in statuses if status >= 500]


@pytest.mark.parametrize("path", POSTS)
def test_no_json_body_is_answered_with_a_5xx(client: TestClient, app: App, path: str) -> None:
    statuses = Counter[int]()

    @many(share(10_000))
    @hypothesis.given(bodies | st.binary(max_size=200))
    def send(body: Any) -> None:
        answer = client.post(path, content=body if isinstance(body, bytes) else json.dumps(body))
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, (body, answer.text)
        answer.json()

    send()
    keep(f"bodies {path}", requests=statuses.total(), statuses=dict(statuses))
    assert app.gate.budget.num_tokens == app.gate.budget.num_bytes == 0


def test_no_damaged_file_is_answered_with_a_5xx(client: TestClient, app: App) -> None:
    """Pictures and PDFs with bytes changed, cut out and put in."""
    seeds = [("image", saved(picture(112, 56, 1), form)) for form in ("PNG", "JPEG", "WEBP", "GIF")]
    seeds += [("image", many_frames(form, 5)) for form in ("GIF", "PNG", "WEBP")] + [("pdf", pdf(3))]
    chance, statuses, slowest = random.Random(0), Counter[int](), 0.0
    for number in range(share(5000)):
        field, data = seeds[number % len(seeds)]
        body = {"input": {field: base64.b64encode(mutated(data, chance)).decode()}}
        began = time.perf_counter()
        answer = client.post("/v1/embeddings", json=body)
        slowest = max(slowest, time.perf_counter() - began)
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, (number, answer.text)
    good = {"input": {"image": encoded(picture(56, 28, 1))}}
    assert client.post("/v1/embeddings", json=good).status_code == 200
    keep("mutated files", requests=statuses.total(), statuses=dict(statuses), slowest_s=round(slowest, 2))
    assert app.gate.budget.num_pixels == 0


def mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 40))):
        place = chance.randrange(max(1, len(changed)))
        match chance.randrange(4):
            case 0:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            case 2:
                del changed[place : place + chance.randrange(1, 60)]
            case _:
                changed[place:place] = chance.randbytes(chance.randrange(1, 60))
    return bytes(changed)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_gigabyte_in_a_chunk_is_refused(client: TestClient, kind: bytes) -> None:
    data = png(8000, 6000, b"", chunk(kind, b"k\0\0" + zeros(share(1024) * MB)))
    refused(client, data, f"{share(1024)} MB of {kind.decode()}")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_ten_thousand_frames_cost_what_the_first_does(client: TestClient, form: str) -> None:
    data = many_frames(form, share(10_000))
    began = time.perf_counter()
    answer = client.post("/v1/embeddings", json={"input": {"image": base64.b64encode(data).decode()}})
    took = time.perf_counter() - began
    keep(f"{share(10_000)} frames of {form}", status=answer.status_code, seconds=round(took, 2), bytes=len(data))
    assert answer.status_code in (200, 422)
    assert took < 2


def refused(client: TestClient, data: bytes, name: str) -> None:
    body = {"input": {"image": base64.b64encode(data).decode()}}
    client.post("/v1/embeddings", json={"input": {"image": encoded(picture(56, 28, 1))}})  # starts the decoder
    began = time.perf_counter()
    answer = client.post("/v1/embeddings", json=body)
    took = time.perf_counter() - began
    keep(name, status=answer.status_code, seconds=round(took, 2), bytes=len(data))
    assert 400 <= answer.status_code < 500
    assert took < 2


def test_drains_lose_nothing(tmp_path: Path) -> None:
    count, lost, answered = share(100), 0, 0
    for number in range(count):
        with serving(tmp_path, "--drain", "1") as served:
            statuses, broken = asyncio.run(drained(served, 0.02 * (number % 50)))
            assert served.process.wait(30) == 0
        lost += broken + sum(status != 200 for status in statuses)
        answered += len(statuses)
    keep("drains", drains=count, answered=answered, lost=lost)
    assert lost == 0


def test_work_of_clients_that_leave_is_cancelled() -> None:
    engine, count = OneByOne(), share(1000)
    served = app_of(JinaEmbeddings(engine=engine))

    async def main() -> list[float]:
        return await asyncio.gather(*(leave(served.app) for _ in range(count)))

    took = asyncio.run(main())
    keep("clients that leave", clients=count, ran=engine.num_calls, slowest_end_s=round(max(took), 2))
    assert engine.num_calls <= max(10, 0.05 * count)
    assert max(took) < 2
    assert served.gate.budget.num_requests == served.gate.budget.num_tokens == 0


def test_too_many_connections_are_shed(tmp_path: Path) -> None:
    """100 connections ask for three times what was measured, 400 are idle or slow, and readiness is told in time."""
    seconds = max(5.0, 600 * SHARE)
    with serving(tmp_path, "--no-log-requests", "--model", "pocket", engine="torch") as served:
        found = asyncio.run(overloaded(served, seconds))
    keep("overload", seconds=seconds, **found)
    assert set(found["statuses"]) <= {200, 429}
    assert found["refused_p99_ms"] is None or found["refused_p99_ms"] < 100
    assert found["ready_p99_ms"] < 250


def test_memory_stays_what_it_is(tmp_path: Path) -> None:
    """Requests of all kinds, good and bad: memory, descriptors and threads don't grow with their number."""
    count = share(200_000)
    with serving(tmp_path, "--no-log-requests") as served:
        process = psutil.Process(served.process.pid)
        asyncio.run(mixed(served, max(2000, count // 20)))
        before = state_of(process)
        statuses = asyncio.run(mixed(served, count))
        after = state_of(process)
    growth = (after["rss_mb"] - before["rss_mb"]) / (count / 10_000)
    keep("memory", requests=count, statuses=dict(statuses), before=before, after=after, mb_per_10_000=round(growth, 2))
    assert not [status for status in statuses if status >= 500]
    if count >= 20_000:
        assert growth < 1
    assert after["descriptors"] <= before["descriptors"] + 5
    assert after["threads"] <= before["threads"] + 2


def state_of(process: psutil.Process) -> dict[str, float]:
    time.sleep(1)
    return {
        "rss_mb": round(process.memory_info().rss / MB, 1),
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
    }


async def mixed(served: Served, count: int) -> Counter[int]:
    image = {"image": encoded(picture(56, 28, 1))}
    requests: list[tuple[str, Any]] = [
        ("/v1/embeddings", {"input": "one text"}),
        ("/v1/embeddings", {"input": ["one text"] * 16, "embedding_type": "base64"}),
        ("/v1/embeddings", {"input": ["one text"], "task": "retrieval.query", "dimensions": 128}),
        ("/v1/multi-vector", {"input": ["one text"]}),
        ("/v1/rerank", {"query": "a", "documents": ["b", "c d"]}),
        ("/v2/embed", {"texts": ["a"], "input_type": "search_query"}),
        ("/tokenize", {"input": ["a b c"]}),
        ("/v1/embeddings", {"input": ""}),
        ("/v1/embeddings", {"nothing": 1}),
        ("/v1/nowhere", {}),
    ]
    statuses, left = Counter[int](), iter(range(count))

    async def ask(client: httpx.AsyncClient) -> None:
        for number in left:
            path, body = requests[number % len(requests)]
            if number % 500 == 0:
                path, body = "/v1/embeddings", {"input": image}
            statuses[(await client.post(path, json=body)).status_code] += 1

    async with httpx.AsyncClient(base_url=served.address, headers=served.client().headers, timeout=120) as client:
        await asyncio.gather(*(ask(client) for _ in range(16)))
    return statuses
