"""Addresses to which clients must not make the server connect: it connects to none of them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from inputs import picture
from jina_embeddings import JinaEmbeddings
from jina_embeddings.server.media import UrlPolicy
from served import app_of, app_on_fake

PUBLIC = "93.184.215.14"

NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.9.10",
    "localhost",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "１２７.０.０.１",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd12::1]",
    "[fec0::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
]

WRONG = [
    "http://ok.example\\@127.0.0.1/",
    f"http://user:secret@{PUBLIC}/x.png",
    f"http://{PUBLIC}:22/",
    f"http://{PUBLIC}:8080/",
    f"http://{PUBLIC}/\r\nHost: evil",
    "http:///x.png",
    "http://",
    f"ftp://{PUBLIC}/x.png",
    f"gopher://{PUBLIC}/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "/etc/passwd",
    "../../etc/passwd",
    "unix:/run/docker.sock",
    "data:image/png;base64,====",
    "data:text/html,x",
]


class Network:
    """Stands in for the network. asked: hosts that were connected to. answers: by host; all others answer a picture."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.redirects: dict[str, str] = {}

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        target = self.redirects.get(str(request.url.path))
        if target is not None:
            return httpx.Response(302, headers={"location": target}, request=request)
        file = io.BytesIO()
        picture(56, 28, 1).save(file, "PNG")
        return httpx.Response(200, stream=httpx.ByteStream(file.getvalue()), request=request)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()

    async def handle(transport: Any, request: httpx.Request) -> httpx.Response:
        return await network.handle(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    return network


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with app_on_fake(urls=UrlPolicy(hosts=None)) as served, TestClient(served.app) as client:
        yield client


def ask(client: TestClient, url: str, field: str = "image") -> Any:
    return client.post("/v1/embeddings", json={"input": {field: url}})


@pytest.mark.parametrize("field", ["image", "pdf"])
@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_no_address_that_is_not_public_is_asked(client: TestClient, network: Network, host: str, field: str) -> None:
    answer = ask(client, f"http://{host}/x", field)
    assert answer.status_code == 422
    assert network.asked == []


@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_no_redirect_leads_to_an_address_that_is_not_public(client: TestClient, network: Network, host: str) -> None:
    network.redirects["/away"] = f"http://{host}/x"
    assert ask(client, f"http://{PUBLIC}/away").status_code == 422
    assert network.asked == [PUBLIC]


@pytest.mark.parametrize("url", WRONG)
def test_what_is_no_usual_address_is_refused(client: TestClient, network: Network, url: str) -> None:
    answer = ask(client, url)
    assert answer.status_code == 422
    assert network.asked == []
    assert "secret" not in answer.text


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://93.184.215.14/x", f"http://{PUBLIC}:8080/x"])
def test_a_redirect_leads_nowhere_else_either(client: TestClient, network: Network, target: str) -> None:
    network.redirects["/away"] = target
    assert ask(client, f"http://{PUBLIC}/away").status_code == 422
    assert network.asked == [PUBLIC]


def test_six_hops_are_too_many(client: TestClient, network: Network) -> None:
    network.redirects = {f"/{number}": f"http://{PUBLIC}/{number + 1}" for number in range(6)}
    assert ask(client, f"http://{PUBLIC}/0").status_code == 422
    fetched = ask(client, f"http://{PUBLIC}/1")
    assert fetched.status_code == 200, fetched.text


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    client: TestClient, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means another address a moment later, and a proxy that would look it up itself."""
    answers = [PUBLIC, "127.0.0.1"]

    async def getaddrinfo(loop: Any, host: str, port: int, **options: Any) -> Any:
        return [(2, 1, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert ask(client, "http://changes.example/x.png").status_code == 200
    assert network.asked == [PUBLIC]
    assert ask(client, "http://changes.example/x.png").status_code == 422
    assert network.asked == [PUBLIC]


def test_urls_are_fetched_from_listed_hosts_alone(network: Network, fake_model: JinaEmbeddings) -> None:
    served = app_of(fake_model, urls=UrlPolicy(frozenset({PUBLIC})))
    with TestClient(served.app) as client:
        assert ask(client, f"http://{PUBLIC}/x.png").status_code == 200
        assert ask(client, "http://93.184.215.15/x.png").status_code == 422
        network.redirects["/away"] = "http://93.184.215.15/x"
        assert ask(client, f"http://{PUBLIC}/away").status_code == 422
    served.media.close()
    assert network.asked == [PUBLIC, PUBLIC]


def test_urls_are_not_fetched_unless_that_is_asked_for(network: Network, fake_model: JinaEmbeddings) -> None:
    with TestClient(app_of(fake_model).app) as client:
        answer = ask(client, f"http://{PUBLIC}/x.png")
    assert (answer.status_code, "not fetched" in answer.json()["detail"]) == (422, True)
    assert network.asked == []
