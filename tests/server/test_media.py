"""Images and PDFs from clients: what is decoded, what is refused, and what the decoders do to the server."""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from starlette.testclient import TestClient

from hostile import MB, chunk, encoded, many_frames, pdf, png, saved, zeros
from inputs import picture
from jina_embeddings import JinaEmbeddings
from jina_embeddings.inputs.compiled import USES_BEFORE
from jina_embeddings.inputs.pdf import pdf_pages
from jina_embeddings.server.limits import Limits
from jina_embeddings.server.media import IMAGE_S
from served import App, app_of

REFUSED_S = 2.0


# Processes that other tests have started before the server: engines, and Triton's interpreter.
OTHERS: set[int | None] = set()


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    """One server for all files, so that the next file shows if one has damaged it."""
    OTHERS.update(child.pid for child in multiprocessing.active_children())
    with TestClient(app.app) as client:
        client.post("/v1/embeddings", json={"input": {"image": encoded(picture(56, 28, 1))}})  # starts the decoders
        yield client


def cut_jpeg() -> bytes:
    return saved(picture(560, 280, 1), "JPEG")[:-2000]


def lying_size() -> bytes:
    """Its header has fewer rows and columns than its data."""
    return png(64, 64, zlib.compress((b"\0" + b"\xff" * 1000) * 8000, 9))[:200]


HOSTILE_IMAGES: dict[str, Callable[[], bytes]] = {
    "13,377 squared in 22 kB": lambda: png(13_377, 13_377),
    "65,535 squared in the head alone": lambda: png(65_535, 65_535, b""),
    "1 x 100,000": lambda: png(1, 100_000),
    "0 x 0": lambda: png(0, 0, b""),
    "no pixels behind a good head": lambda: png(6000, 6000, b""),
    "a cut JPEG": cut_jpeg,
    "a lying IHDR": lying_size,
    "128 MB of zTXt": lambda: png(8000, 6000, b"", chunk(b"zTXt", b"k\0\0" + zeros(128 * MB))),
    "128 MB of iCCP": lambda: png(8000, 6000, b"", chunk(b"iCCP", b"k\0\0" + zeros(128 * MB))),
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "EPS": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "FITS": lambda: b"SIMPLE  =                    T".ljust(2880),
    "TIFF": lambda: saved(picture(56, 28, 1), "TIFF"),
    "a TIFF whose directory is its own next": lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "BMP": lambda: saved(picture(56, 28, 1), "BMP"),
    "a GIF behind a JPEG's first bytes": lambda: b"\xff\xd8\xff" + saved(picture(56, 28, 1), "GIF"),
    "a PDF that says it is a picture": pdf,
    "a PNG's head alone": lambda: b"\x89PNG\r\n\x1a\n",
    "RIFF of nothing": lambda: b"RIFF\xff\xff\xff\xffWEBP",
}

HOSTILE_PDFS: dict[str, Callable[[], bytes]] = {
    "of 33 pages": lambda: pdf(33),
    "of a million pages by its own word": lambda: pdf(1, count=1_000_000),
    "of a million pages that are one": lambda: pdf(1, count=1_000_000, kids=b"3 0 R " * 1_000_000),
    "of no pages": lambda: pdf(0, count=0),
    "of a page of 14,400 inches": lambda: pdf(1, b"0 0 1036800 1036800"),
    "of a page 1 x 10,000": lambda: pdf(1, b"0 0 1 10000"),
    "whose pages are themselves": lambda: pdf(1, kids=b"2 0 R"),
    "cut": lambda: pdf()[:40],
    "that is a picture": lambda: saved(picture(56, 28, 1), "PNG"),
}


def decoders() -> list[psutil.Process]:
    """The server's decoding processes."""
    return [psutil.Process(child.pid) for child in multiprocessing.active_children() if child.pid not in OTHERS]


def spent() -> float:
    """Processor time of the server and its decoders in seconds, which depends little on how busy the machine is."""
    times = [child.cpu_times() for child in decoders()]
    return time.process_time() + float(sum(one.user + one.system for one in times))


def require_refused(client: TestClient, field: str, data: bytes) -> None:
    body = {"input": {field: base64.b64encode(data).decode()}}
    before, began = spent(), time.perf_counter()
    answer = client.post("/v1/embeddings", json=body)
    assert 400 <= answer.status_code < 500, answer.text
    # It did not use up the time of a decoder either, however busy the machine is.
    assert spent() - before < REFUSED_S
    assert time.perf_counter() - began < 0.8 * IMAGE_S
    # The next image is decoded as if nothing had happened.
    assert client.post("/v1/embeddings", json={"input": {"image": encoded(picture(56, 28, 1))}}).status_code == 200
    for child in decoders():
        assert child.memory_info().rss < 350 * MB


@pytest.mark.parametrize("name", HOSTILE_IMAGES)
def test_a_hostile_image_is_refused(client: TestClient, name: str) -> None:
    require_refused(client, "image", HOSTILE_IMAGES[name]())


@pytest.mark.parametrize("name", HOSTILE_PDFS)
def test_a_hostile_pdf_is_refused(client: TestClient, name: str) -> None:
    require_refused(client, "pdf", HOSTILE_PDFS[name]())


@pytest.mark.long
def test_more_pixels_than_memory_are_refused_and_the_decoder_goes_on(client: TestClient) -> None:
    """Within the limit of pixels, but transparent ones take more than a decoder may have."""
    data = saved(Image.new("RGBA", (7000, 7000), (1, 2, 3, 4)), "PNG", compress_level=1)
    before = {child.pid for child in decoders()}
    answer = client.post("/v1/embeddings", json={"input": {"image": base64.b64encode(data).decode()}})
    assert (answer.status_code, "memory" in answer.json()["detail"]) == (422, True)
    assert {child.pid for child in decoders()} == before


def test_a_file_that_crashes_its_decoder_affects_no_other_request(
    client: TestClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"input": {"image": encoded(picture(56, 28, 1))}}
    victims = decoders()
    assert victims
    for child in victims:
        child.kill()
    answers = [client.post("/v1/embeddings", json=good).status_code for _ in range(2)]
    assert answers[-1] == 200
    assert app.gate.budget.num_pixels == 0


def turned() -> Image.Image:
    image = picture(56, 28, 1)
    image.getexif()[0x0112] = 6
    return image


USUAL: dict[str, Callable[[], bytes]] = {
    "one pixel": lambda: saved(Image.new("RGB", (1, 1)), "PNG"),
    "CMYK": lambda: saved(picture(56, 28, 1).convert("CMYK"), "JPEG"),
    "16 bits": lambda: saved(Image.fromarray(np.arange(56 * 28, dtype=np.uint16).reshape(28, 56) * 40), "PNG"),
    "transparent": lambda: saved(picture(56, 28, 1).convert("RGBA"), "PNG"),
    "turned by EXIF": lambda: saved(turned(), "JPEG", exif=turned().getexif()),
    "WebP": lambda: saved(picture(56, 28, 1), "WEBP"),
    "GIF": lambda: saved(picture(56, 28, 1), "GIF"),
    "GIF of many frames": lambda: many_frames("GIF"),
    "APNG of many frames": lambda: many_frames("PNG"),
    "WebP of many frames": lambda: many_frames("WEBP"),
    "one that is made smaller": lambda: saved(picture(2000, 1500, 1), "JPEG"),
}


@pytest.mark.parametrize("name", USUAL)
def test_vectors_of_images_are_the_librarys(client: TestClient, fake_model: JinaEmbeddings, name: str) -> None:
    data = USUAL[name]()
    body = {"input": {"image": base64.b64encode(data).decode()}, "task": "retrieval"}
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    found = np.array(answer.json()["data"][0]["embedding"], np.float32)
    np.testing.assert_array_equal(found, fake_model.encode_image(data))


@pytest.mark.parametrize("kind", ["base64", "data URL", "bare data URL"])
def test_a_pdf_is_answered_page_by_page(client: TestClient, fake_model: JinaEmbeddings, kind: str) -> None:
    data = pdf(3)
    text = base64.b64encode(data).decode()
    url = f"data:application/pdf;base64,{text}"
    value: Any = {"base64": {"pdf": text}, "data URL": {"pdf": url}, "bare data URL": url}[kind]
    answer = client.post("/v1/embeddings", json={"input": [value], "task": "retrieval"}).json()
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    expected = fake_model.encode_image(list(pdf_pages(data)))
    np.testing.assert_array_equal(np.array([entry["embedding"] for entry in answer["data"]], np.float32), expected)


def test_of_a_pdf_the_page_is_named_that_does_not_fit() -> None:
    value = {"pdf": base64.b64encode(pdf(2)).decode()}
    with JinaEmbeddings(engine="fake", max_model_len=24) as model:
        served = app_of(model)
        try:
            with TestClient(served.app) as client:
                answer = client.post("/v1/embeddings", json={"input": value})
        finally:
            served.media.close()
    assert (answer.status_code, answer.json()["detail"].partition(" needs")[0]) == (422, "page[0]: the image")


def test_a_pdf_stands_alone(client: TestClient) -> None:
    value = {"pdf": base64.b64encode(pdf()).decode()}
    answer = client.post("/v1/embeddings", json={"input": [value, "text"]})
    assert (answer.status_code, "alone" in answer.json()["detail"]) == (422, True)


def test_pixels_are_claimed_before_anything_is_decoded(fake_model: JinaEmbeddings) -> None:
    served = app_of(fake_model, limits=Limits(max_pixels_under_way=1000 * 1000))
    with TestClient(served.app) as client:
        large = {"input": {"image": base64.b64encode(png(1001, 1000)).decode()}}
        assert client.post("/v1/embeddings", json=large).status_code == 413
        with served.gate.budget.claim() as others:
            others.take_pixels(500 * 1000)
            fits_later = {"input": {"image": base64.b64encode(png(501, 1000)).decode()}}
            answer = client.post("/v1/embeddings", json=fits_later)
            assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (429, True)
    # No decoder was started.
    assert served.decoders.num_running == 0


def test_images_of_a_client_that_leaves_are_not_decoded(app: App, client: TestClient) -> None:
    """Images that wait for a decoder when their client leaves are dropped."""
    media = app.media

    async def main() -> None:
        from jina_embeddings.server.values import Item

        large = base64.b64encode(saved(picture(2000, 1500, 1), "PNG")).decode()
        with app.gate.budget.claim() as claim:
            work = asyncio.ensure_future(media.opened([Item("image", large)] * 8, claim))
            await asyncio.sleep(0.3)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        began = time.perf_counter()
        with app.gate.budget.claim() as claim:
            await media.opened([Item("image", encoded(picture(56, 28, 1)))], claim)
        # Seven of them were not decoded.
        assert time.perf_counter() - began < 3

    asyncio.run(main())


def test_a_decoder_neither_compiles_nor_starts_processes_however_much_it_decodes() -> None:
    """It has no memory for that."""
    code = """
import threading
import psutil
from jina_embeddings.inputs import compiled, renderers
from jina_embeddings.server import decoding
renderers.RENDERERS._most = 2
decoding.start()
form, begun = decoding.Form(decoding.ImageConfig()), []
threading.Thread.start = lambda thread: begun.append(thread.name)
for _ in range(2 + max(compiled.USES_BEFORE, renderers._PAGES_BEFORE)):
    decoding.image_pixels(PNG, form, 10**6)
    decoding.pdf_pixels(PDF, form, 1)
print(compiled.USES_BEFORE, begun, psutil.Process().children())
"""
    code = code.replace("PNG", repr(saved(picture(56, 84, 1), "PNG"))).replace("PDF", repr(pdf()))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == f"{USES_BEFORE} [] []\n"
