"""What arrives on a connection that is no ordinary request, sent byte by byte to the server as it runs."""

from __future__ import annotations

import gzip
import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import served
from served import KEY, Served, serving

pytestmark = pytest.mark.long

BODY = b'{"input": "a", "embedding_type": "base64"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
POST = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % KEY.encode()
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
CLOSE = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
WEBSOCKET = (
    b"Host: x\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % KEY.encode()
)
# As the HTTP client of Java sends it with every first request.
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\nUpgrade: h2c\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("server")) as served:
        yield served


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def send(server: Served, *data: bytes) -> bytes:
    """All that the server answers until it closes the connection."""
    host, port = server.address.removeprefix("http://").split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            for part in data:
                connection.sendall(part)
        except OSError:
            pass  # the server has closed it before all was sent
        try:
            while received := connection.recv(2**16):
                answer += received
        except ConnectionResetError:
            pass
    return answer


def statuses(server: Served, *data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", send(server, *data))]


@pytest.mark.parametrize(
    "request_",
    [
        POST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(BODY) + LAST,
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunk(BODY) + LAST,
        POST + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
        POST + b"Content-Length: %d, %d\r\n\r\n" % (len(BODY), len(BODY)) + BODY,
        POST + b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY,
        POST + b"Content-Length : %d\r\n\r\n" % len(BODY) + BODY,
        POST + b"Transfer-Encoding: xchunked\r\n\r\n" + chunk(BODY) + LAST,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunk(BODY) + LAST,
        CHUNKED + chunk(BODY).replace(b"\r\n", b"\n") + LAST,
        CHUNKED + b"ffffffffffffffffff\r\n" + BODY,
        (POST + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + BODY,
        POST + LENGTH + b"X: a\r\n b\r\n\r\n" + BODY,
        (POST + LENGTH).replace(b"Host: x", b"Host: x\r\nhost: y") + b"\r\n" + BODY,
        (POST + LENGTH).replace(b"Host: x\r\n", b"") + b"\r\n" + BODY,
        b"GET /health/live HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    ],
    ids=[
        "length and chunks", "chunks and length", "two lengths", "list of lengths", "signed length",
        "space before colon", "unknown coding", "two codings", "chunks with bare LF", "huge chunk",
        "headers with bare LF", "folded header", "two hosts", "no host", "two hosts in 1.0", "HTTP/2", "CONNECT",
    ],
)  # fmt: skip
def test_what_two_servers_could_read_differently_is_refused(server: Served, request_: bytes) -> None:
    """What follows is never taken for a second request."""
    assert statuses(server, request_ + CLOSE) == [400]


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"GET /v1/embeddings", 405), (b"GET /nothing", 404), (b"GET /health/live", 200)],
)
def test_websockets_are_ordinary_requests(server: Served, line: bytes, status: int) -> None:
    assert statuses(server, line + b" HTTP/1.1\r\n" + WEBSOCKET + CLOSE) == [status, 200]
    # In this spelling it reaches uvicorn, which would begin the other protocol.
    spelt = WEBSOCKET.replace(b"Upgrade", b"uPgRaDe")
    assert statuses(server, line + b" HTTP/1.1\r\n" + spelt) == [status]


def test_a_request_of_http_1_0_needs_no_host(server: Served) -> None:
    assert statuses(server, b"GET /health/live HTTP/1.0\r\n\r\n") == [200]


def test_what_follows_a_request_and_is_none_costs_it_no_answer(server: Served) -> None:
    request = POST + LENGTH + b"\r\n" + BODY
    assert statuses(server, request + b"nonsense\r\n\r\n") == [200]
    assert statuses(server, request + request + b"nonsense\r\n\r\n") == [200, 200]
    assert statuses(server, request, b"nonsense\r\n\r\n")[:1] == [200]


@pytest.mark.parametrize("spelling", [b"Upgrade", b"upgrade", b"uPGRADE"])
def test_a_wish_for_http_2_is_ignored_with_its_body_read(server: Served, spelling: bytes) -> None:
    headers = H2C.replace(b"\r\nUpgrade:", b"\r\n" + spelling + b":")
    request = POST + LENGTH + headers + b"\r\n" + BODY
    assert statuses(server, request + CLOSE) == [200, 200]
    # Nobody sends it behind another request.
    assert statuses(server, POST + LENGTH + b"\r\n" + BODY + request + CLOSE) == [200, 400]


def test_a_body_may_speak_of_upgrades(server: Served) -> None:
    body = json.dumps({"input": "a"}).encode() + b"\r\nUpgrade: h2c\r\n" + b" " * 10
    assert statuses(server, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + CLOSE) == [400, 200]
    text = json.dumps({"query": "\r\nUpgrade: a", "documents": ["\r\nUpgrade: b"]}).encode()
    request = POST.replace(b"embeddings", b"rerank") + b"Content-Length: %d\r\n\r\n" % len(text) + text
    assert rb"\r\nUpgrade: b" in send(server, request + CLOSE)


def test_trailers_change_nothing(server: Served) -> None:
    no_key = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    wrong, right = (b"Authorization: Bearer %s\r\n" % key for key in (b"wrong", KEY.encode()))
    assert statuses(server, CHUNKED + chunk(BODY) + b"0\r\n" + wrong + b"\r\n" + CLOSE) == [200, 200]
    assert statuses(server, no_key + chunk(BODY) + b"0\r\n" + right + b"\r\n" + CLOSE) == [401, 200]


@pytest.mark.parametrize(
    "begin",
    [CHUNKED + chunk(BODY) + b"0\r\nX: ", CHUNKED + b"2a;x=", POST + b"X: "],
    ids=["trailer", "chunk extension", "header"],
)
def test_what_is_no_body_is_bounded(server: Served, begin: bytes) -> None:
    # A megabyte is sent, of which the server reads some, and says so unless the rest has reset the connection.
    answered = statuses(server, begin, *[b"a" * 10_000] * 100)
    assert answered in ([], [431], [200, 431])


def test_small_chunks_are_read_whatever_they_take(server: Served) -> None:
    spaces = chunk(b" ") * 50_000
    assert statuses(server, CHUNKED + spaces + chunk(BODY) + LAST + CLOSE) == [200, 200]


def test_requests_may_follow_each_other_at_once(server: Served) -> None:
    large = json.dumps({"input": "a", "user": "x" * 200_000}).encode()
    one = POST + b"Content-Length: %d\r\n\r\n" % len(large) + large
    assert statuses(server, one + one + POST + LENGTH + b"\r\n" + BODY + CLOSE) == [200] * 4


def test_other_forms_of_json(server: Served) -> None:
    marked, zipped = b"\xef\xbb\xbf" + BODY, gzip.compress(BODY)
    assert statuses(server, POST + b"Content-Length: %d\r\n\r\n" % len(marked) + marked + CLOSE) == [200, 200]
    request = POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(zipped) + zipped
    assert b'"UNSUPPORTED_ENCODING"' in (answer := send(server, request + CLOSE))
    assert b" 415 " in answer


IMPATIENT = """
from jina_embeddings.server import lifecycle, protocol
protocol.HEADERS_S, lifecycle._KEEP_ALIVE_S = 1, 2
from jina_embeddings.cli import main
main()
"""


@pytest.mark.parametrize(
    ("request_", "status", "more"),
    [
        (b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"\r\n", 401, BODY[:1]),
        (b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"\r\n", 401, BODY),
        (b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 200, b"\r\n"),
        (b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 200, b"GET / HTTP/1.1\r\nHo"),
    ],
    ids=["part of a body", "a whole body", "an empty line", "part of a head"],
)
def test_bytes_after_an_answer_keep_no_connection_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: bytes, status: int, more: bytes
) -> None:
    monkeypatch.setattr(served, "COMMAND", [sys.executable, "-c", IMPATIENT, "serve"])
    with serving(tmp_path) as server:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request_)
            answer = connection.recv(2**16)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            connection.sendall(more)
            while connection.recv(2**16):
                pass
