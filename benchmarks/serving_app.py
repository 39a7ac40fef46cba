"""The server that `serving.py` measures: the product's own, before an engine that does nothing, or before `pocket`.

python serving_app.py null|pocket PORT
"""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import orjson
import pybase64
import uvicorn

from jina_embeddings import JinaEmbeddings
from jina_embeddings.calls.request import Request
from jina_embeddings.engine.event_loop import run_here
from jina_embeddings.fill import Fill
from jina_embeddings.server.assembly import Settings, serve_model
from jina_embeddings.server.keys import VARIABLE
from jina_embeddings.types import Prepared

T = TypeVar("T")


class NullEngine:
    """Answers at once."""

    name = "torch"
    max_length = 32_768
    calls_at_once = 1
    chunk_size = 256
    hang_s = 60.0
    pack_fill = Fill()
    alive = True

    def __init__(self) -> None:
        self._vector = np.random.default_rng(0).standard_normal((1, 2048), dtype=np.float32)

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        return [self._vector] * len(batch)

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        return [self._vector] * len(batch)

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        return run_here(main)

    def close(self) -> None:
        pass


class Bare:
    """The least of an ASGI application."""

    def __init__(self, model: JinaEmbeddings):
        self._model = model

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = orjson.loads((await receive())["body"])
        result = await self._model.aembed(Request.texts(body["input"], {"task": body["task"]}))
        data = [
            {"object": "embedding", "index": index, "embedding": pybase64.b64encode(row).decode()}
            for index, row in enumerate(result.embeddings)
        ]
        answer = orjson.dumps({"object": "list", "model": body["model"], "data": data})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def main() -> None:
    engine, port = sys.argv[1], int(sys.argv[2])
    os.environ.pop(VARIABLE, None)
    with JinaEmbeddings("pocket", engine="torch" if engine == "pocket" else NullEngine()) as model:
        if engine == "bare":
            uvicorn.run(Bare(model), port=port, log_level="warning", access_log=False)
            return
        serve_model(model, Settings(port=port, drain_s=0, deadline_s=5, decoders=1))


if __name__ == "__main__":
    main()
