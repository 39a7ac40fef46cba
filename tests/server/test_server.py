"""The server as its clients see it: dialects, errors, keys, limits, health, metrics and its own documentation."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from starlette.testclient import TestClient

from inputs import picture
from jina_embeddings import JinaEmbeddings
from jina_embeddings.calls.request import Request
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import EngineDeadError, OptionError
from jina_embeddings.server.app import endpoints
from jina_embeddings.server.keys import Keys
from jina_embeddings.server.limits import Limits
from jina_embeddings.vectors.quantization import quantize
from served import KEY, app_of

TEXTS = ["one text", "another one"]
POSTS = ["/v1/embeddings", "/v1/multi-vector", "/v1/rerank", "/v2/embed", "/tokenize"]


@pytest.fixture
def client(fake_model: JinaEmbeddings) -> Iterator[TestClient]:
    with TestClient(app_of(fake_model).app) as client:
        yield client


def vectors(answer: Any) -> Any:
    return np.array([entry["embedding"] for entry in answer.json()["data"]], dtype=np.float32)


@pytest.mark.parametrize(
    "task", ["retrieval.query", "retrieval.passage", "text-matching", "code.query", "code.passage"]
)
def test_vectors_are_those_of_the_library(client: TestClient, fake_model: JinaEmbeddings, task: str) -> None:
    answer = client.post("/v1/embeddings", json={"input": TEXTS, "task": task, "model": "jina-embeddings-v4"})
    np.testing.assert_array_equal(vectors(answer), fake_model.encode_text(TEXTS, task=task))
    body = answer.json()
    assert body["model"] == "jina-embeddings-v4"
    assert [entry["index"] for entry in body["data"]] == [0, 1]
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] == 6


def test_a_request_without_a_task_is_text_matching(client: TestClient, fake_model: JinaEmbeddings) -> None:
    answer = client.post("/v1/embeddings", json={"input": "one text"})
    np.testing.assert_array_equal(vectors(answer)[0], fake_model.encode_text("one text", task="text-matching"))


def test_openai_clients_ask_for_base64(client: TestClient, fake_model: JinaEmbeddings) -> None:
    answer = client.post("/v1/embeddings", json={"input": TEXTS, "encoding_format": "base64", "dimensions": 128})
    found = [np.frombuffer(base64.b64decode(entry["embedding"]), "<f4") for entry in answer.json()["data"]]
    np.testing.assert_array_equal(found, fake_model.encode_text(TEXTS, task="text-matching", truncate_dim=128))


@pytest.mark.parametrize("form", ["float", "int8", "binary", "ubinary"])
def test_each_form(client: TestClient, fake_model: JinaEmbeddings, form: Any) -> None:
    answer = client.post("/v1/embeddings", json={"input": TEXTS, "embedding_type": form})
    expected = quantize(fake_model.encode_text(TEXTS, task="text-matching"), form)
    np.testing.assert_array_equal(vectors(answer), expected)


def test_several_forms_from_one_pass(client: TestClient) -> None:
    answer = client.post("/v1/embeddings", json={"input": TEXTS, "embedding_type": ["float", "ubinary"]})
    entry = answer.json()["data"][1]["embedding"]
    assert (len(entry["float"]), len(entry["ubinary"])) == (2048, 256)


def encoded_picture() -> str:
    file = io.BytesIO()
    picture(56, 28, 1).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("kind", ["image", "bytes", "data URL", "bare data URL"])
def test_images_in_every_spelling(client: TestClient, fake_model: JinaEmbeddings, kind: str) -> None:
    data = encoded_picture()
    url = f"data:image/png;base64,{data}"
    image: Any = {"data URL": {"image": url}, "bare data URL": url}.get(kind, {kind: data})
    answer = client.post("/v1/embeddings", json={"input": ["one text", image], "task": "retrieval"})
    np.testing.assert_array_equal(vectors(answer)[1], fake_model.encode_image(picture(56, 28, 1)))
    assert (
        answer.json()["usage"]["image_tokens"]
        == fake_model.embed(Request.images([picture(56, 28, 1)], {})).usage.num_image_tokens
    )


@pytest.mark.parametrize("address", ["http://127.0.0.1/a.png", "https://example.org/a.png", "file:///etc/passwd"])
@pytest.mark.parametrize("key", ["image", "url"])
def test_no_address_is_fetched_or_opened(client: TestClient, address: str, key: str) -> None:
    answer = client.post("/v1/embeddings", json={"input": [{key: address}]})
    assert answer.status_code == 422
    assert "not fetched" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "a.png"])
def test_no_path_is_opened(client: TestClient, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(56, 28, 1).save(tmp_path / "a.png")
    answer = client.post("/v1/embeddings", json={"input": [{"image": path}]})
    assert answer.status_code == 422
    assert path not in answer.text


def test_multi_vectors(client: TestClient, fake_model: JinaEmbeddings) -> None:
    expected = fake_model.encode_text(TEXTS, task="text-matching", return_multivector=True)
    for answer in (
        client.post("/v1/embeddings", json={"input": TEXTS, "return_multivector": True}),
        client.post("/v1/multi-vector", json={"input": TEXTS}),
    ):
        entries = answer.json()["data"]
        assert {entry["object"] for entry in entries} == {"embeddings"}
        for entry, matrix in zip(entries, expected, strict=True):
            np.testing.assert_array_equal(np.array(entry["embeddings"], np.float32), matrix)


def test_late_chunking(client: TestClient, fake_model: JinaEmbeddings) -> None:
    answer = client.post("/v1/embeddings", json={"input": TEXTS, "late_chunking": True, "task": "retrieval.passage"})
    expected = fake_model.encode_text(TEXTS, prompt_name="passage", late_chunking=True)
    np.testing.assert_array_equal(vectors(answer), expected)


def test_rerank_puts_the_nearest_document_first(client: TestClient) -> None:
    documents = ["nothing of it", "red apples", {"text": "apples"}]
    answer = client.post("/v1/rerank", json={"query": "red apples", "documents": documents, "top_n": 2}).json()
    assert answer["results"][0]["index"] == 1
    assert answer["results"][0]["document"] == {"text": "red apples"}
    scores = [entry["relevance_score"] for entry in answer["results"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)


def test_cohere(client: TestClient, fake_model: JinaEmbeddings) -> None:
    body = {"texts": TEXTS, "input_type": "search_document", "embedding_types": ["float", "int8"], "model": "m"}
    answer = client.post("/v2/embed", json=body).json()
    found = np.array(answer["embeddings"]["float"], np.float32)
    np.testing.assert_array_equal(found, fake_model.encode_text(TEXTS, prompt_name="passage"))
    assert answer["meta"]["billed_units"]["input_tokens"] == 6
    refused = client.post("/v2/embed", json={"input_type": "search_query"})
    assert (refused.status_code, "message" in refused.json()) == (422, True)


def test_tokens_are_counted(client: TestClient) -> None:
    assert client.post("/tokenize", json={"input": TEXTS}).json()["num_tokens"] == [2, 2]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"input": []}', 422),
        (b'{"input": ""}', 422),
        (b'{"input": [1, 2]}', 422),
        (b'{"input": [[1, 2]]}', 422),
        (b'{"input": [null]}', 422),
        (b'{"input": {"text": 1}}', 422),
        (b'{"input": "a", "dimensions": 3}', 422),
        (b'{"input": "a", "task": "no"}', 422),
        (b'{"input": "a", "embedding_type": "no"}', 422),
        (b'{"input": {"image": "====", "text": "a"}}', 422),
        (b'{"input": {"image": "AAAA"}}', 422),
        (b'{"input": {"image": "\xc3\xa9"}}', 422),
    ],
)
def test_bad_bodies_are_refused(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/v1/embeddings", content=body)
    assert answer.status_code == status
    assert {"detail", "error"} & set(answer.json())


@pytest.mark.parametrize("path", POSTS)
def test_every_route_refuses_a_body_that_is_too_large(fake_model: JinaEmbeddings, path: str) -> None:
    with TestClient(app_of(fake_model, limits=Limits(max_body_bytes=1000)).app) as client:
        assert client.post(path, content=b"x" * 1001).status_code == 413
        assert client.post(path, content=iter([b"x" * 600, b"x" * 600])).status_code == 413


def test_errors_are_in_the_words_of_the_dialect(client: TestClient) -> None:
    plain = client.post("/v1/embeddings", json={"input": ""}).json()
    assert (plain["error"]["code"], plain["code"]) == ("empty_input", "EMPTY_INPUT")
    hosted = client.post("/v1/embeddings", json={"input": "", "task": "text-matching"}).json()
    assert (hosted["code"], "empty" in hosted["detail"]) == ("EMPTY_INPUT", True)


def test_what_never_fits_is_413_and_what_does_not_fit_now_429() -> None:
    others_answered = asyncio.Event()

    class Slow(FakeEngine):
        async def arun(self, batch: Any, **options: Any) -> Any:
            await others_answered.wait()
            return self.run(batch)

    app = app_of(JinaEmbeddings(engine=Slow()), limits=Limits(max_tokens_under_way=100, max_inputs=10)).app

    async def main() -> list[httpx.Response]:
        inputs: list[Any] = ["a" * 80, "a" * 80, "a" * 101, ["a"] * 11]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            asked = [asyncio.ensure_future(client.post("/v1/embeddings", json={"input": one})) for one in inputs]
            async with asyncio.timeout(60):
                while sum(one.done() for one in asked) < 3:
                    await asyncio.sleep(0.01)
                others_answered.set()
                return await asyncio.gather(*asked)

    first, second, too_large, too_many = asyncio.run(main())
    assert sorted([first.status_code, second.status_code]) == [200, 429]
    refused = first if first.status_code == 429 else second
    assert int(refused.headers["retry-after"]) >= 1
    assert (too_large.status_code, too_many.status_code) == (413, 413)


def test_a_client_that_leaves_cancels_its_work() -> None:
    cancelled = []

    class Endless(FakeEngine):
        async def arun(self, batch: Any, **options: Any) -> Any:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(batch)
                raise

    served = app_of(JinaEmbeddings(engine=Endless()))

    async def main() -> None:
        messages = [{"type": "http.request", "body": orjson.dumps({"input": "a"})}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            await asyncio.sleep(0.05)
            return messages.pop(0)

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [], "query_string": b""}
        await asyncio.wait_for(served.app(scope, receive, send), 5)
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert len(cancelled) == 1
    assert served.gate.budget.num_tokens == 0


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "keys.txt").write_text(f"# comment\n{KEY}\nanother\n")
    return Keys(tmp_path / "keys.txt")


def test_every_route_but_health_needs_a_key(fake_model: JinaEmbeddings, keys: Keys) -> None:
    with TestClient(app_of(fake_model, keys).app) as client:
        paths = client.get("/openapi.json", headers={"Authorization": f"Bearer {KEY}"}).json()["paths"]
        assert set(POSTS) < set(paths)
        for path, operations in paths.items():
            for method in operations:
                expected = 200 if path.startswith("/health/") else 401
                assert client.request(method, path).status_code == expected, path


@pytest.mark.parametrize(
    ("header", "let_in"),
    [
        (f"Bearer {KEY}", True),
        ("Bearer another", True),
        (f"bearer {KEY}", True),
        (f"Bearer  {KEY}", True),
        (f"Basic {KEY}", False),
        (KEY, False),
        ("Bearer", False),
        ("Bearer ", False),
        (f"Bearer {KEY}x", False),
        (f"Bearer {KEY[:-1]}", False),
        ("Bearer # comment", False),
        ("", False),
    ],
)
def test_keys(fake_model: JinaEmbeddings, keys: Keys, header: str, let_in: bool) -> None:
    with TestClient(app_of(fake_model, keys).app) as client:
        answer = client.get("/v1/models", headers={"Authorization": header})
        assert answer.status_code == (200 if let_in else 401)
        assert client.get("/v1/models", params={"api_key": KEY}).status_code == 401
        assert KEY not in answer.text


def test_a_header_that_is_not_ascii_or_given_twice_is_refused(fake_model: JinaEmbeddings, keys: Keys) -> None:
    with TestClient(app_of(fake_model, keys).app) as client:
        header = (b"Authorization", "Bearer ключ".encode())
        assert client.get("/v1/models", headers=[header]).status_code == 401
        twice = [("Authorization", f"Bearer {KEY}")] * 2
        assert client.get("/v1/models", headers=twice).status_code == 401


def test_keys_are_read_again_and_an_empty_file_changes_nothing(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("new\n")
    keys.read()
    keys.require(["Bearer new"])
    (tmp_path / "keys.txt").write_text("\n")
    with pytest.raises(OptionError, match="holds no key"):
        keys.read()
    keys.require(["Bearer new"])


def test_a_server_whose_engine_has_died_is_not_ready_and_does_not_say_why() -> None:
    class Dead(FakeEngine):
        alive = False

        async def arun(self, batch: Any, **options: Any) -> Any:
            raise EngineDeadError("secret reason", [0], [None])

    with TestClient(app_of(JinaEmbeddings(engine=Dead())).app) as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 503
        answer = client.post("/v1/embeddings", json={"input": "a"})
        assert (answer.status_code, "secret" in answer.text) == (503, False)


def test_an_internal_error_tells_nothing_of_its_cause() -> None:
    class Wrong(FakeEngine):
        async def arun(self, batch: Any, **options: Any) -> Any:
            raise ZeroDivisionError("secret")

    with TestClient(app_of(JinaEmbeddings(engine=Wrong())).app) as client:
        answer = client.post("/v1/embeddings", json={"input": "a"})
        assert (answer.status_code, "secret" in answer.text) == (500, False)


def test_metrics_count_requests(client: TestClient) -> None:
    client.post("/v1/embeddings", json={"input": "a"})
    client.post("/v1/embeddings", json={"input": ""})
    text = client.get("/metrics").text
    assert 'jina_requests_total{route="/v1/embeddings",status="200"} 1.0' in text
    assert 'jina_requests_total{route="/v1/embeddings",status="422"} 1.0' in text


def test_the_openapi_document_names_every_field(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"]["EmbeddingsRequest"]
    assert {"input", "task", "dimensions", "embedding_type", "late_chunking"} <= set(schema["properties"])
    assert schema["required"] == ["input"]


def test_the_page_has_every_route_and_every_field(fake_model: JinaEmbeddings) -> None:
    """The table of fields is generated; that it is current, tests/docs hold."""
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    served = app_of(fake_model)
    for endpoint in endpoints(served.service, served.gate):
        assert f"{endpoint.method} {endpoint.path}`" in page
        if endpoint.body is not None:
            assert all(f"| `{name}` |" in page for name in endpoint.body.__struct_fields__)
