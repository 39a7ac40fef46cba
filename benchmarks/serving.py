"""What the server costs: CPU time of a request with an engine that does nothing, and rates compared with the library's.

    python benchmarks/serving.py

Callers are a closed loop over connections that stay open. Processor time is the server process's own, by its times.
`null` is our server before an engine that answers at once, behind the tokenizer of `pocket` and with vectors of 2,048
numbers; `bare` is the least of an application before the same engine, measured in turn with it. Rates are those of
`pocket` on torch: over HTTP, and of as many callers of `aencode_text` in a process without a server. In turns with it
run what is asked for: infinity, by the Python of an environment that has infinity_emb (`--infinity`), and vLLM's own
server (`--vllm`), with the weights of one task merged, each with the threads that it takes by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from from_tools import RESULTS, circumstances
from input_sets import make_texts
from jina_embeddings import JinaEmbeddings
from online import Client
from online_app import closed_loop
from qwen2_export import export

HERE = Path(__file__).parent
PORT = 18_200
CALLERS = 64
TOKENIZER = HERE.parent / "src/jina_embeddings/models/pocket/tokenizer.json"


def bodies_of(texts: list[str], count: int, form: str, *, prompt: str = "") -> list[bytes]:
    """Requests of so many texts each. prompt: for servers that know no task."""
    bodies = []
    fields = {"encoding_format": form} if prompt else {"task": "retrieval.passage", "embedding_type": form}
    for first in range(0, len(texts) - count, count):
        inputs = [prompt + text for text in texts[first : first + count]]
        bodies.append(json.dumps({"model": "m", "input": inputs, **fields}).encode())
    return bodies


class Server:
    """`serving_app.py`, or the server that a command starts, in a process of its own."""

    def __init__(self, engine: str, port: int, command: list[str] | None = None):
        self.engine, self.port = engine, port
        command = command or [sys.executable, str(HERE / "serving_app.py"), engine, str(port)]
        environment = {**os.environ, "DO_NOT_TRACK": "1"}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    async def measure(self, bodies: list[bytes], texts: int, seconds: float) -> dict[str, Any]:
        """The closed loop, and the server's processor time from its warm-up's end on."""
        client, process = Client(self.port), psutil.Process(self.process.pid)
        done = 0

        async def call(number: int) -> None:
            nonlocal done
            answered = False
            while not answered:
                # A connection that has waited for the other callers may be closed by now.
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    await client.post("/v1/embeddings", bodies[number % len(bodies)])
                    answered = True
            done += 1

        await closed_loop(call, CALLERS, texts, 1.0)
        windows: list[float] = []

        async def watch() -> None:
            """Processor time of a request in each second; others on the machine make some of them dearer."""
            while True:
                before, first = _spent(process), done
                await asyncio.sleep(1)
                if done > first:
                    windows.append(1000 * (_spent(process) - before) / (done - first))

        watching = asyncio.ensure_future(watch())
        before, first = _spent(process), done
        found = await closed_loop(call, CALLERS, texts, seconds, 0.0)
        watching.cancel()
        mean = 1000 * (_spent(process) - before) / (done - first)
        return {
            **found,
            "cpu_ms_per_request": round(mean, 3),
            "cpu_ms_per_request_in_the_best_second": round(min(windows, default=mean), 3),
        }

    async def ready(self) -> None:
        for _ in range(1200):
            with suppress(OSError, asyncio.IncompleteReadError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            if self.process.poll() is not None:
                raise RuntimeError("the server ended")
            await asyncio.sleep(0.1)
        raise RuntimeError("the server did not start")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def _spent(process: psutil.Process) -> float:
    """Processor seconds so far, those of its own processes included."""
    spent = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            spent += times.user + times.system
    return spent


def _seconds(texts: int, seconds: float) -> float:
    """Of a measurement with `pocket`, whose requests of 16 texts wait for a thousand others."""
    return seconds * (2 if texts == 1 else 12)


def others(infinity: str | None, vllm: bool, folder: Path) -> list[Server]:
    """Servers of others with the same weights, started. folder: of the exported model."""
    servers = []
    if infinity:
        port = PORT + 4
        options = "--served-model-name m --engine torch --device cpu --dtype float32 --no-bettertransformer"
        program = ["-c", "from infinity_emb.cli import cli; cli()", "v2", "--model-id", str(folder), *options.split()]
        program += ["--url-prefix", "/v1", "--no-model-warmup", "--port", str(port), "--log-level", "error"]
        servers.append(Server("infinity", port, [infinity, *program]))
    if vllm:
        port = PORT + 5
        start = "from jina_embeddings.torch_companions import repair; repair(); import runpy; "
        start += "runpy.run_module('vllm.entrypoints.openai.api_server', run_name='__main__', alter_sys=True)"
        options = "--served-model-name m --runner pooling --dtype float32 --max-model-len 4096 --disable-log-stats "
        options += "--enforce-eager --kv-cache-memory-bytes 1073741824 --disable-uvicorn-access-log"
        program = ["-c", start, "--model", str(folder), *options.split(), "--port", str(port)]
        servers.append(Server("vllm", port, [sys.executable, *program]))
    return servers


async def check(server: Server, texts: list[str], prompt: str) -> float:
    """The least cosine of its vectors to ours."""
    client = Client(server.port)
    (body,) = bodies_of(texts[:9], 8, "float", prompt=prompt)
    answer = json.loads(await client.post("/v1/embeddings", body))
    vectors = np.array([entry["embedding"] for entry in answer["data"]])
    with JinaEmbeddings("pocket", engine="torch") as model:
        expected = model.encode_text(texts[:8], task="retrieval", prompt_name="passage")
    return float((vectors * expected).sum(axis=1).min())


async def in_process(texts: list[str], seconds: float) -> list[dict[str, Any]]:
    """The library without a server: as many callers, and one call of all."""
    rows: list[dict[str, Any]] = []
    with JinaEmbeddings("pocket", engine="torch") as model:
        for count in (1, 16):

            async def call(number: int, count: int = count) -> None:
                first = number * count % (len(texts) - count)
                await model.aencode_text(texts[first : first + count], task="retrieval", prompt_name="passage")

            found = await closed_loop(call, CALLERS, count, _seconds(count, seconds))
            rows.append({"system": "library", "callers": CALLERS, "texts": count, **found})
        began = time.perf_counter()
        model.encode_text(texts, task="retrieval", prompt_name="passage")
        rate = len(texts) / (time.perf_counter() - began)
        rows.append({"system": "library", "callers": 1, "texts": len(texts), "texts_per_s": round(rate, 1)})
    return rows


async def with_pocket(
    texts: list[str], seconds: float, repeats: int, infinity: str | None, vllm: bool
) -> list[dict[str, Any]]:
    """Servers of the same model, in turns."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        export(Path(scratch) / "model", "retrieval")
        servers = [Server("pocket", PORT + 1), *others(infinity, vllm, Path(scratch) / "model")]
        prompts = ["", *["Passage: "] * (len(servers) - 1)]
        try:
            cosines = []
            for server, prompt in zip(servers, prompts, strict=True):
                await server.ready()
                cosines.append(await check(server, texts, prompt))
            for repeat in range(repeats):
                for count in (1, 16):
                    for server, prompt, cosine in zip(servers, prompts, cosines, strict=True):
                        bodies = bodies_of(texts, count, "base64", prompt=prompt)
                        found = await server.measure(bodies, count, _seconds(count, seconds))
                        name = "server" if server.engine == "pocket" else server.engine
                        row = {"system": name, "repeat": repeat, "callers": CALLERS, "texts": count, "form": "base64"}
                        rows.append({**row, "least_cosine": round(cosine, 7), **found})
                        print(json.dumps(rows[-1]), flush=True)
        finally:
            for server in servers:
                server.close()
    return rows


async def without_model(texts: list[str], seconds: float, repeats: int) -> list[dict[str, Any]]:
    """Our server and the least of one before an engine that answers at once, in turns."""
    rows = []
    servers = [Server("null", PORT), Server("bare", PORT + 2)]
    try:
        for server in servers:
            await server.ready()
        for repeat in range(repeats):
            for count, form in ((1, "base64"), (16, "base64"), (1, "float"), (16, "float")):
                for server in servers if form == "base64" else servers[:1]:
                    found = await server.measure(bodies_of(texts, count, form), count, seconds)
                    row = {"system": server.engine, "repeat": repeat, "callers": CALLERS, "texts": count, "form": form}
                    rows.append({**row, **found})
                    print(json.dumps(rows[-1]), flush=True)
    finally:
        for server in servers:
            server.close()
    return rows


async def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    texts = make_texts(TOKENIZER, {"short": 1024}, "Passage: ")["short"]
    seconds, repeats = arguments.seconds, arguments.repeats
    rows = await without_model(texts, seconds, repeats)
    if not arguments.without_pocket:
        rows += await with_pocket(texts, seconds, repeats, arguments.infinity, arguments.vllm)
        rows += await in_process(texts[:512], seconds)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without-pocket", action="store_true", help="Only what comes before an engine.")
    parser.add_argument("--infinity", help="The Python of an environment that has infinity_emb.")
    parser.add_argument("--vllm", action="store_true", help="Measure vLLM's own server too.")
    parser.add_argument("--output", type=Path, default=RESULTS / "serving.json")
    arguments = parser.parse_args()
    load = [round(value, 1) for value in os.getloadavg()]
    rows = asyncio.run(measure(arguments))
    arguments.output.write_text(json.dumps({**circumstances(), "load_before": load, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
