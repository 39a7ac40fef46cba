"""Attacks in their quick form: what no client may do to the server. Long forms: `make test-server-long`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import hypothesis.strategies as st
import pytest
import schemathesis
from starlette.testclient import TestClient

from jina_embeddings import JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.server.app import endpoints
from jina_embeddings.server.openapi import document
from served import App, Served, app_of, app_on_fake, serving

LONG = bool(os.environ.get("JINA_EMBEDDINGS_LONG_TESTS"))
POSTS = ["/v1/embeddings", "/v1/multi-vector", "/v1/rerank", "/v2/embed", "/tokenize"]

quick = hypothesis.settings(
    max_examples=10_000 if LONG else 25,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    database=None,
    derandomize=not LONG,
)


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with app_on_fake() as served:
        yield served


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(app.app) as client:
        yield client


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
FIELDS = """
input task dimensions embedding_type encoding_format late_chunking truncate query documents top_n texts images
inputs input_type embedding_types output_dimension text image pdf url bytes content type
"""
fields = st.sampled_from(FIELDS.split())
bodies = st.dictionaries(fields, json_values | st.dictionaries(fields, json_values, max_size=2), max_size=6)


@pytest.mark.parametrize("path", POSTS)
def test_no_body_is_our_fault(client: TestClient, app: App, path: str) -> None:
    @quick
    @hypothesis.given(bodies)
    def send(body: Any) -> None:
        answer = client.post(path, content=json.dumps(body))
        assert answer.status_code < 500, (body, answer.text)
        answer.json()

    send()
    assert app.gate.budget.num_tokens == 0


@pytest.mark.parametrize("path", POSTS)
def test_no_bytes_are_our_fault(client: TestClient, path: str) -> None:
    @quick
    @hypothesis.given(st.binary(max_size=200))
    def send(body: bytes) -> None:
        assert client.post(path, content=body).status_code in (400, 422)

    send()


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("path", POSTS)
def test_the_openapi_document_is_true(app: App, client: TestClient, path: str, mode: str) -> None:
    """What it allows is understood, and answered as it says; what it forbids is refused."""
    schema = schemathesis.openapi.from_dict(document(endpoints(app.service, app.gate)))
    operation = schema[path]["POST"]
    kinds = {"positive": schemathesis.GenerationMode.POSITIVE, "negative": schemathesis.GenerationMode.NEGATIVE}

    @quick
    @hypothesis.given(case=operation.as_strategy(generation_mode=kinds[mode]))
    def send(case: Any) -> None:
        body = case.body if isinstance(case.body, bytes) else json.dumps(case.body, default=str)
        answer = client.post(path, content=body)
        assert str(answer.status_code) in operation.definition.raw["responses"], answer.text
        if mode == "positive":
            # Its form is right, whatever else may be wrong with it; but JSON Schema calls 1.0 an integer.
            assert "VALIDATION_ERROR" not in answer.text or "got `float`" in answer.text, answer.text
            assert answer.status_code != 400

    send()


def test_clients_that_leave_take_their_work_along() -> None:
    """What has not begun never runs."""

    class OneByOne(FakeEngine):
        lock = asyncio.Lock()

        async def arun(self, batch: Any, **options: Any) -> Any:
            async with self.lock:
                await asyncio.sleep(0.05)
                return self.run(batch)

    engine = OneByOne()
    served = app_of(JinaEmbeddings(engine=engine))

    async def leave() -> None:
        gone = asyncio.Event()
        body: list[Any] = [{"type": "http.request", "body": b'{"input": "a"}', "more_body": False}]

        async def receive() -> Any:
            if body:
                return body.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [], "query_string": b""}
        asking = asyncio.ensure_future(served.app(scope, receive, send))
        await asyncio.sleep(0.2)
        gone.set()
        await asyncio.wait_for(asking, 2)

    async def main() -> None:
        await asyncio.gather(*(leave() for _ in range(1000 if LONG else 50)))

    asyncio.run(main())
    assert engine.num_calls <= 10
    assert served.gate.budget.num_requests == served.gate.budget.num_tokens == 0


LONG_TEXTS = {"dots": "." * 2**20, "words": "word " * 2**18, "joined emoji": "👩‍👩‍👧‍👦" * 2**15}


@pytest.mark.parametrize("name", LONG_TEXTS)
@pytest.mark.parametrize("truncate", [True, False])
def test_a_megabyte_of_text_holds_nobody_up(client: TestClient, name: str, truncate: bool) -> None:
    stop, gaps = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            began = time.perf_counter()
            client.get("/health/ready")
            gaps.append(time.perf_counter() - began)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        body = {"input": LONG_TEXTS[name], "truncate": truncate, "embedding_type": "base64"}
        answer = client.post("/v1/embeddings", json=body)
    finally:
        stop.set()
        watcher.join()
    # The fake engine's tokens are words, of which joined ones are one.
    assert answer.status_code == (422 if name == "words" and not truncate else 200), answer.text[:300]
    # Two cores that others use as well: a loop that is held up is so for a second.
    assert max(gaps) < 0.9


@pytest.mark.parametrize("number", range(100 if LONG else 10))
def test_a_drain_loses_nothing_that_was_accepted(tmp_path: Path, number: int) -> None:
    with serving(tmp_path, "--drain", "1") as served:
        statuses, broken = asyncio.run(_drained(served, 0.02 * number))
        assert served.process.wait(30) == 0
    assert set(statuses) == {200}
    assert broken == 0


async def _drained(served: Served, after_s: float) -> tuple[list[int], int]:
    """Statuses of answers, and requests that were sent on an open connection and not answered."""
    statuses: list[int] = []
    broken = 0

    async def ask(client: httpx.AsyncClient) -> None:
        nonlocal broken
        while True:
            try:
                answer = await client.post("/v1/embeddings", json={"input": ["one text"] * 8})
            except httpx.ConnectError:
                return
            except httpx.TransportError:
                # Its connection was accepted.
                broken += 1
                return
            statuses.append(answer.status_code)

    headers = {"Authorization": "Bearer a-key"}
    async with httpx.AsyncClient(base_url=served.address, headers=headers, timeout=30) as client:
        asking = [asyncio.ensure_future(ask(client)) for _ in range(8)]
        await asyncio.sleep(0.2 + after_s)
        served.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*asking)
    return statuses, broken
