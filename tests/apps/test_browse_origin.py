"""The page of `jina-embeddings browse` is for itself: pages of other origins get neither answers nor sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from browsed import browsing

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("browse")
    (folder / "a.txt").write_text("Tea needs hot water.")
    with browsing(folder, folder / "own.index", ["--engine", "fake"]) as port:
        yield port


def status(port: int, path: str, *headers: str) -> int:
    """The status of the answer to a GET with these headers only; clients would add their own."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.recv(1024).split()[1])


SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "http://localhost", "null"])
def test_another_origin_gets_nothing(port: int, origin: str) -> None:
    assert status(port, SOCKET, *UPGRADE, f"Origin: {origin}") == 403
    assert status(port, "/", f"Origin: {origin}") == 403


def test_its_own_page_gets_its_socket(port: int) -> None:
    for host in ("127.0.0.1", "localhost"):
        assert status(port, SOCKET, *UPGRADE, f"Origin: http://{host}:{port}") == 101
    assert status(port, "/") == 200
