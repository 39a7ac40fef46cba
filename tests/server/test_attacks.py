"""Attacks in their quick form: what no client may do to the server. Long forms: `make test-server-long`."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from starlette.testclient import TestClient

from hostile import MODES, POSTS, OneByOne, bodies, drained, leave, operation, require_true
from jina_embeddings import JinaEmbeddings
from served import App, app_of, serving

quick = hypothesis.settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    database=None,
    derandomize=True,
)


@pytest.mark.parametrize("path", POSTS)
def test_no_json_body_is_answered_with_a_5xx(client: TestClient, app: App, path: str) -> None:
    @quick
    @hypothesis.given(bodies)
    def send(body: Any) -> None:
        answer = client.post(path, content=json.dumps(body))
        assert answer.status_code < 500, (body, answer.text)
        answer.json()

    send()
    assert app.gate.budget.num_tokens == 0


@pytest.mark.parametrize(
    ("path", "begin", "one", "end", "status"),
    [
        ("/v1/embeddings", b'{"input":[', b'"a",', b'"a"]}', 413),
        ("/v1/embeddings", b'{"input":[', b"[1],", b"[1]]}", 413),
        ("/v1/embeddings", b'{"input":[', b"1,", b"1]}", 422),
        ("/v1/embeddings", b'{"input":[', b"{},", b"{}]}", 413),
        ("/v1/embeddings", b'{"input":"a","embedding_type":[', b'"float",', b'"float"]}', 200),
        ("/v1/rerank", b'{"query":"a","documents":[', b'"",', b'""]}', 413),
        ("/v2/embed", b'{"input_type":"image","images":[', b'"",', b'""]}', 413),
        ("/v2/embed", b'{"input_type":"image","texts":["a"],"embedding_types":[', b'"int8",', b'"int8"]}', 200),
        ("/tokenize", b'{"input":[', b'"a",', b'"a"]}', 413),
    ],
)  # fmt: skip
def test_a_million_values_hold_nobody_up(
    client: TestClient, path: str, begin: bytes, one: bytes, end: bytes, status: int
) -> None:
    began = time.process_time()
    answer = client.post(path, content=begin + one * 2_000_000 + end)
    assert (answer.status_code, len(answer.content) < 100_000) == (status, True)
    # In the event loop, where others wait for it.
    assert time.process_time() - began < 1


@pytest.mark.parametrize("path", POSTS)
def test_bytes_that_are_no_request_are_refused(client: TestClient, path: str) -> None:
    @quick
    @hypothesis.given(st.binary(max_size=200))
    def send(body: bytes) -> None:
        assert client.post(path, content=body).status_code in (400, 422)

    send()


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", POSTS)
def test_the_openapi_document_is_true(app: App, client: TestClient, path: str, mode: str) -> None:
    """Requests that it allows are answered as it says, and those that it forbids are refused."""
    found = operation(app, path)

    @quick
    @hypothesis.given(case=found.as_strategy(generation_mode=MODES[mode]))
    def send(case: Any) -> None:
        require_true(client, found, case, mode)

    send()


def test_work_of_clients_that_leave_is_cancelled() -> None:
    """Calls that the engine has not begun by then never run."""

    engine = OneByOne()
    served = app_of(JinaEmbeddings(engine=engine))

    async def main() -> None:
        await asyncio.gather(*(leave(served.app) for _ in range(50)))

    asyncio.run(main())
    assert engine.num_calls <= 10
    assert served.gate.budget.num_requests == served.gate.budget.num_tokens == 0


LONG_TEXTS = {"dots": "." * 2**20, "words": "word " * 2**18, "joined emoji": "👩‍👩‍👧‍👦" * 2**15}


@pytest.mark.parametrize("name", LONG_TEXTS)
@pytest.mark.parametrize("truncate", [True, False])
def test_a_megabyte_of_text_delays_no_other_request(client: TestClient, name: str, truncate: bool) -> None:
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
    # The fake engine's tokens are words, and a text without spaces is one word.
    assert answer.status_code == (422 if name == "words" and not truncate else 200), answer.text[:300]
    # The machine may be busy; an event loop that tokenises the text itself would be blocked for a second.
    assert max(gaps) < 0.9


@pytest.mark.long
@pytest.mark.parametrize("number", range(3))
def test_a_drain_loses_nothing_that_was_accepted(tmp_path: Path, number: int) -> None:
    with serving(tmp_path, "--drain", "1") as served:
        statuses, broken = asyncio.run(drained(served, 0.07 * number))
        assert served.process.wait(30) == 0
    assert set(statuses) == {200}
    assert broken == 0
