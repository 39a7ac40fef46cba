"""What every request passes: limits, rates, unknown routes, what is logged and traced, and an engine that dies."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Index
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.calls.request import Request
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import InputError
from jina_embeddings.server.app import Endpoint, endpoints
from jina_embeddings.server.keys import VARIABLE, Keys
from jina_embeddings.server.limits import Limits
from jina_embeddings.server.rates import Rates
from jina_embeddings.server.request_log import RequestLog
from jina_embeddings.server.spans import Spans
from jina_embeddings.server.values import decode_with, items_of
from served import KEY, app_of

OPEN = {"/health/live", "/health/ready"}


def test_every_route_has_a_policy(fake_model: JinaEmbeddings) -> None:
    served = app_of(fake_model)
    for endpoint in endpoints(served.service, served.gate):
        assert endpoint.access == ("open" if endpoint.path in OPEN else "key"), endpoint.path
    with pytest.raises(TypeError, match="access"):
        Endpoint("/new", answer=served.service.models)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "//v1/embeddings", "/v1/embeddings/", "/v1/%2e%2e/metrics", "/v1/../metrics", "/root/v1/embeddings"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_an_unknown_route_is_answered_in_json(fake_model: JinaEmbeddings, path: str, method: str) -> None:
    transport = httpx.ASGITransport(app_of(fake_model).app)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://evil.example") as client:
            return await client.send(client.build_request(method, httpx.URL(f"http://evil.example{path}")))

    answer = asyncio.run(ask())
    # httpx resolves the dots of a path, and what they resolve to here answers without a key, or only to other methods.
    assert answer.status_code in (404, 405, 200) if path.endswith("metrics") else answer.status_code == 404
    if answer.status_code != 200:
        assert {"error", "detail", "request_id"} <= set(answer.json())


def test_a_wrong_method_is_answered_in_json(fake_model: JinaEmbeddings) -> None:
    with TestClient(app_of(fake_model).app) as client:
        for method, path, allowed in (("GET", "/v2/embed", "POST"), ("OPTIONS", "/v1/models", "GET")):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
            assert answer.json()
        assert client.request("HEAD", "/v1/models").status_code == 200


def test_headers_that_are_too_large_are_refused(fake_model: JinaEmbeddings) -> None:
    with TestClient(app_of(fake_model).app) as client:
        assert client.get("/v1/models", headers={"Authorization": "Bearer " + "x" * 2**20}).status_code == 431


def test_bytes_of_a_body_are_claimed_before_it_is_read(fake_model: JinaEmbeddings) -> None:
    served = app_of(fake_model, limits=Limits(max_body_bytes=1000, max_bytes_under_way=1500))
    read: list[bytes] = []

    def body() -> Iterator[bytes]:
        for _ in range(3):
            read.append(b" " * 300)
            yield read[-1]

    with TestClient(served.app) as client, served.gate.budget.claim() as others:
        others.take_bytes(1000)
        began = time.perf_counter()
        answer = client.post("/v1/embeddings", content=b" " * 900)
        assert time.perf_counter() - began < 0.5
        assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (429, True)
        assert client.post("/v1/embeddings", content=body()).status_code == 429
        assert client.post("/v1/embeddings", content=b'{"input": "a"}').status_code == 200
    assert served.gate.budget.num_bytes == 0


def test_a_claim_gives_back_all_that_it_took(fake_model: JinaEmbeddings) -> None:
    served = app_of(fake_model)
    budget = served.gate.budget
    with TestClient(served.app) as client:
        bodies: list[Any] = [{"input": "a"}, {"input": []}, {"input": {"image": "AAAA"}}, {"input": ["a"] * 3000}, {}]
        for body in bodies:
            client.post("/v1/embeddings", json=body)
    assert (budget.num_bytes, budget.num_tokens, budget.num_pixels, budget.num_requests) == (0, 0, 0, 0)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keys:
    monkeypatch.setenv(VARIABLE, f"{KEY},another")
    return Keys()


def test_requests_a_minute(fake_model: JinaEmbeddings, keys: Keys) -> None:
    served = app_of(fake_model, keys, rates=Rates(requests_per_minute=2))
    with TestClient(served.app) as client:

        def ask(key: str) -> Any:
            return client.post("/v1/embeddings", json={"input": "a"}, headers={"Authorization": f"Bearer {key}"})

        first = ask(KEY)
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert ask(KEY).status_code == 200
        refused = ask(KEY)
        assert (refused.status_code, refused.json()["code"]) == (429, "RATE_REQUEST_LIMIT_EXCEEDED")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        # Another key has limits of its own, and health routes have none.
        headers = {"Authorization": "Bearer another"}
        failed = client.post("/v1/embeddings", json={"input": ""}, headers=headers)
        assert (failed.status_code, failed.headers["x-ratelimit-remaining-requests"]) == (422, "1")
        assert ask("another").status_code == 200
        assert client.get("/health/ready").status_code == 200


def test_tokens_a_minute(fake_model: JinaEmbeddings, keys: Keys) -> None:
    served = app_of(fake_model, keys, rates=Rates(tokens_per_minute=10))
    with TestClient(served.app) as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        texts = {"input": ["a b c d e f g h i j k l"]}
        # The first request has more tokens than the limit: it is answered, and nothing is left of the minute.
        assert client.post("/v1/embeddings", json=texts, headers=headers).headers["x-ratelimit-remaining-tokens"] == "0"
        refused = client.post("/v1/embeddings", json={"input": "a"}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (429, "RATE_TOKEN_LIMIT_EXCEEDED")
        assert int(refused.headers["retry-after"]) >= 1


class Encoding:
    """An encoding with the methods of tiktoken's that the server calls."""

    name = "letters"

    def decode(self, token_ids: list[int]) -> str:
        return "".join({1: "one", 2: " ", 3: "text"}[token_id] for token_id in token_ids)


@pytest.mark.parametrize("value", [[1, 2, 3], [[1, 2, 3]], [[1, 2, 3], "one text"]])
def test_token_ids_are_the_text_that_they_stand_for(fake_model: JinaEmbeddings, value: Any) -> None:
    with TestClient(app_of(fake_model, decode=decode_with(Encoding())).app) as client:
        answer = client.post("/v1/embeddings", json={"input": value})
        assert answer.status_code == 200
        for entry in answer.json()["data"]:
            assert (
                entry["embedding"]
                == client.post("/v1/embeddings", json={"input": "one text"}).json()["data"][0]["embedding"]
            )
        assert client.post("/v1/embeddings", json={"input": [4]}).status_code == 422


def test_token_ids_of_an_unknown_tokenizer_are_refused_in_words(fake_model: JinaEmbeddings) -> None:
    with pytest.raises(InputError, match="token_ids"):
        items_of([1, 2])
    with pytest.raises(InputError, match="no token id"):
        fake_model.text_of([-1])


def test_an_index_is_searched(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "pipes.md").write_text("# Pipes\nHow a burst pipe is mended.\n")
    (tmp_path / "notes" / "cats.md").write_text("# Cats\nWhat a cat eats.\n")
    index_files([tmp_path / "notes"], tmp_path / "notes.index", fake_model)
    index = Index.open(tmp_path / "notes.index", fake_model)
    with TestClient(app_of(fake_model, index=index).app) as client:
        answer = client.post("/v1/search", json={"query": "a burst pipe", "limit": 1}).json()
        (hit,) = answer["results"]
        expected = index.search("a burst pipe", limit=1)[0]
        assert (hit["id"], hit["title"]) == (expected.id, "Pipes")
        assert hit["score"] == pytest.approx(expected.score)
        words = {"query": "cat", "mode": "words", "filters": {"title": "Cats"}}
        assert [one["title"] for one in client.post("/v1/search", json=words).json()["results"]] == ["Cats"]
        for body, detail in (
            ({"query": "a", "filters": {"kind": "no"}}, "filters: unknown kind 'no'"),
            ({"query": "a", "mode": "word"}, "mode: Invalid enum value 'word': choose one of 'dense', "),
            ({"query": ""}, "query: a text is empty: leave it out"),
            ({"query": ["a"]}, "query: expected a text"),
        ):
            refused = client.post("/v1/search", json=body)
            assert (refused.status_code, refused.json()["detail"][: len(detail)]) == (422, detail)
    with TestClient(app_of(fake_model).app) as client:
        assert client.post("/v1/search", json={"query": "a"}).status_code == 404


def test_an_index_that_has_gone_is_said_without_its_path(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    (tmp_path / "cats.md").write_text("# Cats\nWhat a cat eats.\n")
    folder = tmp_path / "notes.index"
    index_files([tmp_path / "cats.md"], folder, fake_model)
    with TestClient(app_of(fake_model, index=Index.open(folder, fake_model)).app) as client:
        shutil.rmtree(folder)
        for mode in ("words", "dense", "hybrid"):
            refused = client.post("/v1/search", json={"query": "a cat", "mode": mode})
            assert (refused.status_code, refused.json()["code"]) == (503, "INDEX_UNREACHABLE")
            assert refused.json()["detail"] == "the index can't be read now"
        index_files([tmp_path / "cats.md"], folder, fake_model)
        assert client.post("/v1/search", json={"query": "a cat"}).status_code == 200


def test_the_tokens_of_a_search_are_counted(tmp_path: Path, fake_model: JinaEmbeddings, keys: Keys) -> None:
    (tmp_path / "cats.md").write_text("# Cats\nWhat a cat eats.\n")
    index_files([tmp_path / "cats.md"], tmp_path / "notes.index", fake_model)
    index = Index.open(tmp_path / "notes.index", fake_model)
    served = app_of(fake_model, keys, index=index, rates=Rates(tokens_per_minute=1000))
    with TestClient(served.app) as client:
        headers = {"Authorization": f"Bearer {KEY}"}

        def ask(**body: Any) -> tuple[int, int]:
            answer = client.post("/v1/search", json={"query": "a cat"} | body, headers=headers)
            return answer.json()["usage"]["total_tokens"], int(answer.headers["x-ratelimit-remaining-tokens"])

        query = fake_model.embed(Request.texts(["a cat"], {"task": "retrieval.query"})).usage.num_tokens
        assert ask() == (query, 1000 - query)
        # Ranking by multi-vectors embeds the query and the passages once more.
        reranked, left = ask(rerank=True)
        assert reranked > 2 * query
        assert left == 1000 - query - reranked
        assert f"jina_tokens_total {query + reranked}.0" in client.get("/metrics", headers=headers).text


def test_a_request_is_one_line_of_json(fake_model: JinaEmbeddings, keys: Keys) -> None:
    reader, writer = os.pipe()
    served = app_of(fake_model, keys, log=RequestLog(writer))
    with TestClient(served.app) as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = client.post("/v1/embeddings", json={"input": ["one text", "a secret"]}, headers=headers)
        client.post("/v1/embeddings", json={"input": "a"})
        client.get("/health/ready")
    served.gate.ledger.flush()
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    first, second = map(json.loads, text.splitlines())
    assert first["request_id"] == answer.headers["x-request-id"]
    assert (first["route"], first["status"], first["inputs"], first["tokens"]) == ("/v1/embeddings", 200, 2, 6)
    assert {"parse_ms", "tokenise_ms", "run_ms", "write_ms"} <= set(first)
    assert (second["status"], second["code"]) == (401, "auth_invalid")
    assert "secret" not in text
    assert KEY not in text


def test_a_log_that_nobody_reads_fails_no_request(fake_model: JinaEmbeddings) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    served = app_of(fake_model, log=RequestLog(writer))
    with TestClient(served.app) as client:
        for _ in range(3):
            assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200
            served.gate.ledger.flush()


def test_stages_are_counted(fake_model: JinaEmbeddings) -> None:
    with TestClient(app_of(fake_model).app) as client:
        client.post("/v1/embeddings", json={"input": ["one text", "two"]})
        client.post("/v1/embeddings", json={"input": ""})
        text = client.get("/metrics").text
    for stage in ("parse", "tokenise", "run", "write"):
        assert f'jina_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert "jina_inputs_total 2.0" in text
    assert "jina_tokens_total 5.0" in text
    assert 'jina_errors_total{code="empty_input"} 1.0' in text
    assert "jina_requests_under_way 1.0" in text  # this one


def test_how_full_packs_were_is_a_histogram() -> None:
    with (
        JinaEmbeddings("pocket", engine="torch", max_batch_tokens=100) as model,
        TestClient(app_of(model).app) as client,
    ):
        for text in ("word " * 30, "word " * 30, "word " * 95):
            assert client.post("/v1/embeddings", json={"input": text}).status_code == 200
        lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("jina_pack_fill_bucket")]
    counts = [float(line.split()[-1]) for line in found]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[4] == 2
    assert counts[-1] == 3
    (total,) = [float(line.split()[-1]) for line in lines if line.startswith("jina_pack_fill_sum")]
    assert total == pytest.approx(model.pack_fill.total)


def test_spans(fake_model: JinaEmbeddings) -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), trace.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    served = app_of(fake_model, spans=Spans(provider.get_tracer("test")))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with TestClient(served.app) as client:
        client.post("/v1/embeddings", json={"input": "one text"}, headers={"traceparent": parent})
    served.gate.ledger.flush()
    spans: dict[str, Any] = {span.name: span for span in exporter.get_finished_spans()}
    whole = spans["POST /v1/embeddings"]
    assert format(whole.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert (whole.attributes["jina.tokens"], whole.attributes["http.response.status_code"]) == (3, 200)
    assert {"parse", "tokenise", "run", "write"} < set(spans)
    assert spans["run"].parent.span_id == whole.context.span_id


def test_keys_that_cannot_be_read_are_named_without_their_path(tmp_path: Path) -> None:
    for content in (None, b"\xff\xfe", b"\n"):
        file = tmp_path / "folder" / "keys.txt"
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(Exception, match="the key file") as caught:
            Keys(file)
        assert "folder" not in str(caught.value)


def test_requests_that_wait_for_a_dead_engine_are_answered() -> None:
    waiting = 0

    class Endless(FakeEngine):
        async def arun(self, batch: Any, **options: Any) -> Any:
            nonlocal waiting
            waiting += 1
            await asyncio.sleep(3600)

    served = app_of(JinaEmbeddings(engine=Endless()))

    async def main() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(served.app), base_url="http://server") as client:
            asked = [asyncio.ensure_future(client.post("/v1/embeddings", json={"input": "a"})) for _ in range(5)]
            async with asyncio.timeout(60):
                while waiting < len(asked):
                    await asyncio.sleep(0.01)
                served.gate.state.give_up()
                answers = await asyncio.gather(*asked)
            return [*answers, await client.get("/health/ready")]

    answers = asyncio.run(main())
    assert [answer.status_code for answer in answers] == [503] * 6
    assert answers[0].json()["code"] == "ENGINE_DEAD"
    assert served.gate.budget.num_tokens == 0


def test_the_page_of_the_api_loads_no_other_file(fake_model: JinaEmbeddings) -> None:
    with TestClient(app_of(fake_model).app) as client:
        answer = client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<code>POST /v1/embeddings</code>" in answer.text
    assert "late_chunking" in answer.text
    assert "http" not in answer.text.replace("http-equiv", "")
