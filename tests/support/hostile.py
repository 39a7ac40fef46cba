"""What nobody should send to a server: bodies that mean nothing, files that are made to harm, clients that leave."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import signal
import struct
import zlib
from typing import Any

import httpx
import hypothesis.strategies as st
import schemathesis
from PIL import Image
from starlette.testclient import TestClient

from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.server.app import endpoints
from jina_embeddings.server.openapi import document
from served import KEY, App, Served

POSTS = ["/v1/embeddings", "/v1/multi-vector", "/v1/rerank", "/v2/embed", "/tokenize"]
MODES = {"positive": schemathesis.GenerationMode.POSITIVE, "negative": schemathesis.GenerationMode.NEGATIVE}
MB = 2**20

_FIELDS = """
input task dimensions embedding_type encoding_format late_chunking truncate query documents top_n texts images
inputs input_type embedding_types output_dimension text image pdf url bytes content type
"""
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
_fields = st.sampled_from(_FIELDS.split())
bodies = st.dictionaries(_fields, _values | st.dictionaries(_fields, _values, max_size=2), max_size=6)


def operation(app: App, path: str) -> Any:
    """Of the OpenAPI document, for schemathesis."""
    return schemathesis.openapi.from_dict(document(endpoints(app.service, app.gate)))[path]["POST"]


def require_true(client: TestClient, operation: Any, case: Any, mode: str) -> int:
    """What the document allows is understood, and answered as it says; what it forbids is refused. The status."""
    body = case.body if isinstance(case.body, bytes) else json.dumps(case.body, default=str)
    answer = client.post(operation.path, content=body)
    assert str(answer.status_code) in operation.definition.raw["responses"], (body, answer.text)
    if mode == "positive":
        # Its form is right, whatever else may be wrong with it; but JSON Schema calls 1.0 an integer.
        assert "VALIDATION_ERROR" not in answer.text or "got `float`" in answer.text, (body, answer.text)
        assert answer.status_code != 400, body
    return answer.status_code


class OneByOne(FakeEngine):
    """Takes 50 ms for each call."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = asyncio.Lock()

    async def arun(self, batch: Any, **options: Any) -> Any:
        async with self._lock:
            await asyncio.sleep(0.05)
            return self.run(batch)


async def leave(app: Any, after_s: float = 0.2) -> float:
    """A client that asks and leaves before its answer. Seconds from its leaving to the end of its request."""
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
    asking = asyncio.ensure_future(app(scope, receive, send))
    await asyncio.sleep(after_s)
    gone.set()
    left = asyncio.get_running_loop().time()
    await asyncio.wait_for(asking, 60)
    return asyncio.get_running_loop().time() - left


async def drained(served: Served, after_s: float) -> tuple[list[int], int]:
    """Statuses of answers around a SIGTERM, and requests that were sent on an open connection and not answered."""
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

    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=served.address, headers=headers, timeout=30) as client:
        asking = [asyncio.ensure_future(ask(client)) for _ in range(8)]
        await asyncio.sleep(0.2 + after_s)
        served.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*asking)
    return statuses, broken


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, form, **options)
    return base64.b64encode(file.getvalue()).decode()


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    return base64.b64decode(encoded(image, form, **options))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes | None = None, extra: bytes = b"") -> bytes:
    """Grey, one bit a pixel. rows: compressed; left out, white ones that fit."""
    if rows is None:
        rows = zlib.compress((b"\0" + b"\xff" * ((width + 7) // 8)) * height, 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zeros(size: int) -> bytes:
    """So many zeros, compressed."""
    compressor = zlib.compressobj(1)
    block = bytes(MB)
    return b"".join(compressor.compress(block) for _ in range(size // MB)) + compressor.flush()


def many_frames(form: str, count: int = 300) -> bytes:
    """An animated picture of one pixel."""
    frame = Image.new("L", (1, 1))
    others = [Image.new("L", (1, 1), number % 256) for number in range(1, count)]
    return saved(frame, form, save_all=True, append_images=others, duration=1)


def pdf(pages: int = 1, box: bytes = b"0 0 72 72", count: int | None = None, kids: bytes | None = None) -> bytes:
    """A PDF of empty pages. count, kids: what its list of pages says of itself."""
    kids = kids if kids is not None else b" ".join(b"%d 0 R" % (3 + number) for number in range(pages))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count or pages)]
    objects += [b"<</Type/Page/Parent 2 0 R/MediaBox[%s]>>" % box] * pages
    body, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj%s\nendobj\n" % (number, one)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
    table += b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(places) + 1, len(body))
    return body + table + trailer
