"""The server that `online.py` measures: the product's and a minimal ASGI app, which also measures in the process.

    python online_app.py PORT FOLDER TEXTS.json [OPTION=VALUE ...]

POST /v1/embeddings is the product's server; /plain the least that an ASGI app can be, of the same form with base64;
/inside, /bulk, /beside, /page and /graphs call methods of `App`.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from jina_embeddings.server.assembly import Settings, assembled

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Returns the median and the 99th percentile, in milliseconds."""
    low, high = np.percentile(np.array(seconds) * 1000, [50, 99]) if seconds else (0.0, 0.0)
    return {"p50_ms": round(float(low), 2), "p99_ms": round(float(high), 2)}


async def closed_loop(
    call: Callable[[int], Awaitable[Any]], callers: int, texts: int, seconds: float, warm_up: float = 1.0
) -> dict[str, float]:
    """Runs `callers` callers, each of which calls again when it has its answer. call: gets the number of the call."""
    took: list[float] = []
    number = 0
    begin = time.perf_counter() + warm_up
    end = begin + seconds

    async def caller() -> None:
        nonlocal number
        while (start := time.perf_counter()) < end:
            number += 1
            await call(number)
            if start >= begin and (now := time.perf_counter()) <= end:
                took.append(now - start)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return {"texts_per_s": round(len(took) * texts / seconds, 1), **percentiles(took)}


class App:
    """`sets`: texts by name."""

    def __init__(self, folder: str, sets: dict[str, list[str]], options: dict[str, Any]):
        from jina_embeddings import JinaEmbeddings
        from jina_embeddings.checkpoint import open_checkpoint
        from jina_embeddings.engine.choice import load_engine
        from jina_embeddings.inputs.processor import Processor
        from jina_embeddings.options import make_options

        arguments: Any = import_module("jina_embeddings.engine.vllm.arguments")
        arguments.WORKER_EXTENSION = "measured_worker.MeasuredWorker"
        started = time.perf_counter()
        checkpoint = open_checkpoint(folder)
        self._engine: Any = load_engine("vllm", checkpoint, make_options(options, "vllm"))
        self.model = JinaEmbeddings(folder, engine=self._engine, **options)
        self._processor = Processor.from_checkpoint(checkpoint, max_length=self._engine.max_length)
        self._loaded_s = time.perf_counter() - started
        self._sets = sets
        with assembled(self.model, Settings()) as parts:
            self._server: Any = parts.app

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope.get("path", "").startswith("/v1/"):
            await self._server(scope, receive, send)
            return
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        asked = orjson.loads(body or b"{}")
        if scope["path"] == "/plain":
            answer = await self._plain(asked)
        elif scope["path"] == "/health":
            answer = b"{}"
        else:
            answer = json.dumps(await getattr(self, scope["path"][1:])(**asked)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _plain(self, asked: dict[str, Any]) -> bytes:
        vectors = await self.model.aencode_text(asked["input"], task=asked["task"])
        data = [{"index": i, "embedding": base64.b64encode(row).decode()} for i, row in enumerate(vectors)]
        return orjson.dumps({"object": "list", "data": data})

    def _texts(self, name: str, number: int, count: int) -> list[str]:
        texts = self._sets[name]
        first = number * count % (len(texts) - count)
        return texts[first : first + count]

    async def inside(self, name: str, callers: int, texts: int, seconds: float) -> dict[str, Any]:
        """Runs a closed loop in this process."""

        async def call(number: int) -> None:
            await self.model.aencode_text(self._texts(name, number, texts), task="retrieval", prompt_name="passage")

        return await closed_loop(call, callers, texts, seconds)

    async def bulk(self, name: str, count: int) -> dict[str, Any]:
        """Measures one call of many texts, after one to warm up."""
        texts = (self._sets[name] * (1 + count // len(self._sets[name])))[:count]
        rates = []
        for size in (count // 4, count, count):
            start = time.perf_counter()
            await asyncio.to_thread(self.model.encode_text, texts[:size], task="retrieval", prompt_name="passage")
            rates.append(size / (time.perf_counter() - start))
        return {"texts_per_s": round(max(rates[1:]), 1), "all": [round(rate, 1) for rate in rates]}

    async def beside(self, name: str, count: int) -> dict[str, Any]:
        """Measures calls of one text, one after another, while a call of many texts runs."""
        texts = (self._sets[name] * (1 + count // len(self._sets[name])))[:count]
        start = time.perf_counter()
        bulk = asyncio.ensure_future(
            asyncio.to_thread(self.model.encode_text, texts, task="retrieval", prompt_name="passage")
        )
        await asyncio.sleep(1)
        took: list[float] = []
        while not bulk.done():
            began = time.perf_counter()
            await self.model.aencode_text(texts[len(took)], task="retrieval", prompt_name="passage")
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)
        return {
            "bulk_texts_per_s": round(count / (time.perf_counter() - start), 1),
            "n": len(took),
            **percentiles(took),
        }

    async def page(self, seconds: float) -> dict[str, Any]:
        """Measures calls of one A4 page at 150 dots an inch, a different one each time."""
        from input_sets import make_pages

        pages = make_pages(64)

        async def call(number: int) -> None:
            await self.model.aencode_image(pages[number % len(pages)], task="retrieval")

        return await closed_loop(call, 1, 1, seconds)

    async def pages(self, count: int) -> dict[str, Any]:
        """Measures calls of many A4 pages, as one vector and as multi-vectors, after one to warm up."""
        from input_sets import make_pages

        # Different pages in each call, as the worker caches what the tower has computed.
        drawn = list(make_pages(2 * count + count // 4))
        found: dict[str, Any] = {}
        calls = {"dense": drawn[:count], "multivector": drawn[count : 2 * count]}
        for name, pages in ({"warm_up": drawn[2 * count :]} | calls).items():
            start = time.perf_counter()
            await asyncio.to_thread(
                self.model.encode_image, pages, task="retrieval", return_multivector=name == "multivector"
            )
            found[name] = round(len(pages) / (time.perf_counter() - start), 1)
        return {"pages_per_s": found}

    async def parts(self, seconds: float) -> dict[str, Any]:
        """Measures where the time of a call of one text goes, in milliseconds; each figure includes the next."""
        prepared = self._processor.texts(self._texts("short", 0, 1), "retrieval", "passage")

        async def whole(number: int) -> None:
            await self.model.aencode_text(self._texts("short", number, 1), task="retrieval", prompt_name="passage")

        async def engine(number: int) -> None:
            await self._engine.arun(prepared)

        async def rpc(number: int) -> None:
            await self._engine.on_workers("peak_memory")

        found = {}
        for name, call in (("aencode_text", whole), ("engine.arun", engine), ("an empty RPC", rpc)):
            found[name] = (await closed_loop(call, 1, 1, seconds / 3, 0.3))["p50_ms"]
            if name == "engine.arun":
                found["in the worker"] = (await self._engine.on_workers("small_packs"))[0]
        return found

    async def graphs(self) -> dict[str, Any]:
        """Returns which graphs were recorded, and how they compare with packs that are launched kernel by kernel."""
        report = getattr(self._engine, "graphs", {})
        (found,) = await self._engine.on_workers("check_graphs")
        return {"report": {key: value for key, value in report.items() if key != "tokens"}, **found}

    async def packs(self) -> dict[str, Any]:
        """Returns figures of the small packs since the last call."""
        found: dict[str, Any] = (await self._engine.on_workers("small_packs"))[0]
        return found

    async def memory(self) -> dict[str, Any]:
        (peak,) = await self._engine.on_workers("peak_memory")
        return {"peak_gb": round(peak / 1e9, 1), "loaded_s": round(self._loaded_s, 1)}


def main() -> None:
    import uvicorn

    from jina_embeddings.server.protocol import BoundedProtocol

    port, folder, sets, *options = sys.argv[1:]
    given = {name: json.loads(value) for name, _, value in (option.partition("=") for option in options)}
    app: Any = App(folder, json.loads(Path(sets).read_text()), given)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=int(port),
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            http=BoundedProtocol,
        )
    )
    # Threads that prepare a bulk call would keep the event loop waiting five milliseconds.
    sys.setswitchinterval(0.0005)
    # As the product's server does.
    gc.collect()
    gc.freeze()
    app.model.run_async(server.serve())


if __name__ == "__main__":
    main()
