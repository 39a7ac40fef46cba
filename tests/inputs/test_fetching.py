"""Images by URL: redirects, limits, proxies, private addresses and failures."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from image_files import PNG, encoded, is_right
from jina_embeddings.errors import ImageError
from jina_embeddings.inputs import fetching
from jina_embeddings.inputs.fetching import fetch
from jina_embeddings.inputs.sources import SourcePolicy, load_image


class _Handler(BaseHTTPRequestHandler):
    released = threading.Event()

    def do_GET(self) -> None:
        respond = getattr(self, "get_" + self.path.strip("/").partition(".")[0].replace("-", "_"), None)
        if respond is None:
            self.send_error(404)
        else:
            respond()

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the client has seen enough

    def get_ok(self) -> None:
        self.answer(PNG)

    def get_document(self) -> None:
        self.answer(encoded("PDF", (255, 0, 0), (0, 0, 255)))

    def get_text(self) -> None:
        self.answer(b"<html>sign in</html>")

    def get_redirect(self) -> None:
        self.answer(b"", 302, Location="/redirect-again")

    def get_redirect_again(self) -> None:
        self.answer(b"", 307, Location="/ok.png")

    def get_redirect_for_ever(self) -> None:
        self.answer(b"", 302, Location="/redirect-for-ever")

    def get_redirect_to_file(self) -> None:
        self.answer(b"", 302, Location="file:///etc/hostname")

    def get_redirect_to_port(self) -> None:
        self.answer(b"", 302, Location="http://127.0.0.1:99999/x.png")

    def get_redirect_to_idna(self) -> None:
        self.answer(b"", 302, Location="http://" + "x" * 70 + ".example/x.png")

    def get_redirect_to_private(self) -> None:
        self.answer(b"", 302, Location="http://10.0.0.1/x.png")

    def get_broken(self) -> None:
        self.answer(b"", 503)

    def get_large(self) -> None:
        self.answer(bytes(1_000_000))

    def get_short(self) -> None:
        self.answer(PNG[:20], Content_Length=str(len(PNG)))

    def get_gzipped(self) -> None:
        self.answer(gzip.compress(bytes(100_000)), Content_Encoding="gzip")

    def get_slow(self) -> None:
        self.released.wait(60)
        self.answer(PNG)

    def get_drip(self) -> None:
        self.answer(b"")
        while not self.released.wait(0.02):
            try:
                self.wfile.write(b".")
                self.wfile.flush()
            except OSError:
                return

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        _Handler.released.clear()
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        _Handler.released.set()
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/ok.png", "/redirect", "/ok.png#anything"])
def test_a_url_is_fetched_and_redirects_followed(server: str, path: str) -> None:
    assert is_right(load_image(server + path))


def test_an_upper_case_scheme_is_a_url(server: str) -> None:
    assert is_right(load_image(server.replace("http", "HTTP") + "/ok.png"))


def test_a_url_is_fetched_while_an_event_loop_runs(server: str) -> None:
    async def main() -> bool:
        return is_right(load_image(server + "/ok.png"))

    assert asyncio.run(main())


def test_a_page_of_a_pdf_at_a_url(server: str) -> None:
    red, _, blue = load_image(server + "/document.pdf#page=2").getpixel((3, 3))  # type: ignore[misc]
    assert blue > 200 > 50 > red
    with pytest.raises(ImageError, match="2 pages"):
        load_image(server + "/document.pdf")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing.png", "404 Not Found"),
        ("/broken", "503"),
        ("/text", "not an image"),
        ("/short", "peer closed|incomplete"),
        ("/redirect-for-ever", "redirects"),
        ("/redirect-to-file", "protocol|scheme"),
    ],
)
def test_a_failed_fetch_is_an_error_that_names_the_url(server: str, path: str, message: str) -> None:
    with pytest.raises(ImageError, match=f"(?s){server}{path}.*({message})"):
        load_image(server + path)


def test_a_password_in_a_url_stays_out_of_the_message(server: str) -> None:
    with pytest.raises(ImageError, match="404") as caught:
        load_image(server.replace("://", "://user:secret@") + "/missing.png")
    assert "secret" not in str(caught.value)


def test_a_body_over_the_limit_is_not_read_on(server: str) -> None:
    with pytest.raises(ImageError, match=r"/large.*over 1000 bytes"):
        fetch(server + "/large", max_bytes=1000)
    assert len(fetch(server + "/large", max_bytes=1_000_000)) == 1_000_000


def test_a_compressed_body_is_not_inflated(server: str) -> None:
    assert len(fetch(server + "/gzipped", max_bytes=1000)) < 1000


@pytest.mark.parametrize("path", ["/slow", "/drip"])
def test_the_timeout_is_for_everything_together(server: str, path: str) -> None:
    start = time.monotonic()
    with pytest.raises(ImageError, match=rf"{path}.*not received within 0\.3 s"):
        fetch(server + path, timeout_s=0.3)
    assert time.monotonic() - start < 2


def test_a_host_that_refuses_is_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x.png"
    with pytest.raises(ImageError, match=url):
        load_image(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://[::1/x.png",
        "http://a\nb/x.png",
        "http://127.0.0.1:99999/x.png",
        "http://127.0.0.1:-1/x.png",
        "http://xn--a.example/x.png",
        "http://\u2488.example/x.png",
        f"http://{'x' * 70}.example/x.png",
        "http://a..b/x.png",
        "http://\ud800/x.png",
        "file://[/x.png",
        "data:image/png;base64,\ud800",
    ],
)
def test_a_malformed_url_is_an_error(url: str) -> None:
    with pytest.raises(ImageError) as raised:
        load_image(url)
    assert "sub-exception" not in str(raised.value)


@pytest.mark.parametrize("path", ["/redirect-to-port", "/redirect-to-idna"])
def test_a_redirect_to_nowhere_is_an_error(server: str, path: str) -> None:
    with pytest.raises(ImageError, match=path):
        load_image(server + path)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", "socks5://user:secret@127.0.0.1:1"),
        ("ALL_PROXY", "socks://127.0.0.1:8080/"),
        ("HTTP_PROXY", "nonsense://127.0.0.1"),
        ("HTTP_PROXY", "http://user:secret@127.0.0.1:99999"),
        ("NO_PROXY", "[::1"),
        ("SSL_CERT_FILE", __file__),
        ("SSL_CERT_FILE", "/no/such/file.pem"),
    ],
)
def test_invalid_proxies_and_certificates_of_the_environment_are_image_errors(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    fetching._ssl_context.cache_clear()
    try:
        with pytest.raises(ImageError, match=r"http://localhost:1/x\.png") as caught:
            load_image("http://localhost:1/x.png")
        assert "secret" not in str(caught.value)
    finally:
        fetching._ssl_context.cache_clear()


def test_many_fetches_share_one_thread(server: str) -> None:
    def of_fetches() -> list[str]:
        return [thread.name for thread in threading.enumerate() if "fetch" in thread.name]

    with ThreadPoolExecutor(8) as pool:
        assert all(is_right(image) for image in pool.map(load_image, [server + "/ok.png"] * 20))
    assert of_fetches() == ["jina-embeddings-fetch"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_fetches_on_its_own(server: str) -> None:
    assert is_right(load_image(server + "/ok.png"))
    child = os.fork()
    if child == 0:
        os._exit(0 if is_right(load_image(server + "/ok.png")) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_urls_can_be_excluded(server: str) -> None:
    with pytest.raises(ImageError, match="URLs are not read here, by the policy"):
        load_image(server + "/ok.png", SourcePolicy(urls=False))
    assert is_right(load_image(server + "/ok.png", SourcePolicy(paths=False)))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fec0::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
    ],
)
def test_private_addresses_can_be_excluded(address: str) -> None:
    with pytest.raises(ImageError, match="only public addresses"):
        load_image(f"http://{address}:1/x.png", SourcePolicy(private_addresses=False))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_recognised(address: str) -> None:
    assert fetching.is_public(address)


def test_a_redirect_to_a_private_address_is_not_followed(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1")
    policy = SourcePolicy(private_addresses=False)
    # The name is resolved once, and the connection goes to that address with the name in the Host header.
    assert is_right(load_image(server + "/redirect", policy))
    with pytest.raises(ImageError, match=r"10\.0\.0\.1.*only public addresses"):
        load_image(server + "/redirect-to-private", policy)
