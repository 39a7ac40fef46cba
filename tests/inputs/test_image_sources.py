"""All kinds of image sources; URLs are tested with a server on this host."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from jina_embeddings.errors import ImageError
from jina_embeddings.inputs import fetching
from jina_embeddings.inputs.fetching import fetch
from jina_embeddings.inputs.sources import CONTENTS_ONLY, SourcePolicy, load_image

COLOUR = (12, 34, 56)


def encoded(file_format: str, *colours: tuple[int, int, int]) -> bytes:
    images = [Image.new("RGB", (16, 8), colour) for colour in colours or (COLOUR,)]
    buffer = io.BytesIO()
    options = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
    images[0].save(buffer, file_format, **options)
    return buffer.getvalue()


PNG = encoded("PNG")
BASE64 = base64.b64encode(PNG).decode()


def is_right(image: Image.Image) -> bool:
    return (image.mode, image.size, image.getpixel((3, 3))) == ("RGB", (16, 8), COLOUR)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "a picture, 100%.png"
    path.write_bytes(PNG)
    return path


def test_paths_in_every_form(png: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(png.parent)
    for source in (png, str(png), png.name, png.as_uri(), f"file://localhost{png.as_uri()[7:]}"):
        assert is_right(load_image(source)), source


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    for name in ("noextension", "wrong.jpg", "abcd", "data.http"):
        (tmp_path / name).write_bytes(PNG)
        assert is_right(load_image(tmp_path / name))


def test_an_existing_path_wins_over_base64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = base64.b64encode(encoded("GIF", (255, 0, 0))).decode().replace("/", "A")[:80]
    Path(small).write_bytes(PNG)
    assert is_right(load_image(small))


def test_bytes_in_every_form() -> None:
    for source in (PNG, bytearray(PNG), memoryview(PNG)):
        assert is_right(load_image(source))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:image/png;charset=x;BASE64,{BASE64}",
        f"data:;base64,{BASE64.rstrip('=')}",
        "data:image/png;base64," + BASE64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        f"data:image/png;base64,{BASE64[:40]}\n {BASE64[40:]}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
    ],
)
def test_data_urls(url: str) -> None:
    assert is_right(load_image(url))


@pytest.mark.parametrize(
    "url", ["data:image/png;base64", "data:image/png;base64,A*B=", "data:image/png;base64,A", "data:,hello"]
)
def test_damaged_data_urls_are_errors(url: str) -> None:
    with pytest.raises(ImageError, match="data URL"):
        load_image(url)


def test_base64_without_a_header() -> None:
    assert is_right(load_image(BASE64))
    assert is_right(load_image(f"{BASE64[:76]}\n{BASE64[76:]}\n"))


def test_base64_of_something_else_is_no_such_file_and_not_shown() -> None:
    text = base64.b64encode(bytes(range(256)) * 40).decode()
    with pytest.raises(ImageError, match=r"no such file, nor an image in base64") as caught:
        load_image(text)
    assert len(str(caught.value)) < 250


def test_base64_of_a_damaged_image_says_so() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((99, 99), 50).save(buffer, "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        load_image(base64.b64encode(buffer.getvalue()[:2000]).decode())


@pytest.mark.parametrize("text", ["cat.png", "abcd", "photos/cat", "", "ü.png", "a\0b", "x" * 5000])
def test_text_that_names_nothing_is_no_such_file(text: str) -> None:
    with pytest.raises(ImageError, match="no such file"):
        load_image(text)


@pytest.mark.parametrize("text", ["missing.png", "a\0b", "abcd"])
def test_a_path_is_never_base64(text: str) -> None:
    with pytest.raises(ImageError, match=r"no such file|null byte"):
        load_image(Path(text))


@pytest.mark.parametrize("url", ["ftp://example.org/x.png", "s3://bucket/x.png"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ImageError, match="only http, https"):
        load_image(url)


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="directory"):
        load_image(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_error(png: Path) -> None:
    png.chmod(0)
    with pytest.raises(ImageError, match="denied"):
        load_image(png)


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
        self.released.wait(5)
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
    with pytest.raises(ImageError):
        load_image(url)


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


# What a source may reach


def test_pixels_bytes_and_base64_are_read_under_every_policy() -> None:
    for source in (
        PNG,
        BASE64,
        BASE64.rstrip("="),
        f"data:image/png;base64,{BASE64}",
        Image.new("RGB", (16, 8), COLOUR),
    ):
        assert is_right(load_image(source, CONTENTS_ONLY))


def test_paths_can_be_excluded(png: Path, tmp_path: Path) -> None:
    policy = SourcePolicy(paths=False)
    missing = tmp_path / "missing.png"
    for path in (png, missing):
        for source in (path, str(path), path.as_uri(), f"{path}#page=1"):
            with pytest.raises(ImageError, match="by the policy") as caught:
                load_image(source, policy)
            # The error doesn't reveal whether there is such a file.
            assert "no such file" not in str(caught.value)


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


def test_an_open_file_is_read_as_bytes(png: Path) -> None:
    with png.open("rb") as file:
        assert is_right(load_image(file))
    assert is_right(load_image(io.BytesIO(PNG)))
    with png.open(encoding="latin-1") as text, pytest.raises(ImageError, match="binary mode"):
        load_image(text)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_and_devices_are_not_opened_as_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises(ImageError, match="not a file"):
            load_image(path)


def test_base64_needs_no_padding() -> None:
    for size in range(3):
        data = PNG + bytes(size)
        assert is_right(load_image(base64.b64encode(data).decode().rstrip("=")))
