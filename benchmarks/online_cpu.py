"""Calls of one text from few and many callers on a CPU, over HTTP: rates and latencies.

    python benchmarks/online_cpu.py --before OTHER/src       # two minutes on two cores

All stand behind the same least application, and are measured in turns. `ours` is `pocket` on the engine torch, and
`before` the same from another tree's `src`. `same-weights` is ours and `sentence-transformers` that library, both on
one untrained merged checkpoint: its calls run in threads, one at a time, as applications do it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from from_tools import make_checkpoint, write_result
from online import Client
from online_app import closed_loop
from texts import docstrings

HERE = Path(__file__).parent
PORT = 18_300
CALLERS = (1, 16)
Encode = Callable[[str], Awaitable[Any]]


def library(folder: str) -> Encode:
    from jina_embeddings import JinaEmbeddings

    model = JinaEmbeddings(folder, task="code", engine="torch", dtype="float32")

    async def encode(text: str) -> Any:
        return await model.aencode_text(text, prompt_name="query")

    return encode


def sentence_transformers(folder: str) -> Encode:
    from jina_embeddings.torch_companions import repair

    repair()
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})
    one_at_a_time = asyncio.Lock()

    async def encode(text: str) -> Any:
        async with one_at_a_time:
            return await asyncio.to_thread(model.encode, text, prompt="Query: ", normalize_embeddings=True)

    return encode


def serve(system: str, folder: str, port: int) -> None:
    import uvicorn

    encode = sentence_transformers(folder) if system == "sentence-transformers" else library(folder)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        vector = await encode(json.loads(body)["input"]) if body else b""
        answer = base64.b64encode(vector)
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    uvicorn.run(app, port=port, log_level="warning", lifespan="off", timeout_keep_alive=600)


def start(system: str, folder: Path | str, number: int, source: Path) -> subprocess.Popen[bytes]:
    environment = dict(os.environ, HF_HUB_OFFLINE="1", PYTHONPATH=os.pathsep.join([str(source), str(HERE)]))
    return subprocess.Popen(
        [sys.executable, __file__, "--serve", system, str(folder), str(PORT + number)], env=environment
    )


async def measure(systems: list[str], texts: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    bodies = [json.dumps({"input": text}).encode() for text in texts]
    found: dict[str, Any] = {system: {str(callers): [] for callers in CALLERS} for system in systems}
    clients = {system: Client(PORT + number) for number, system in enumerate(systems)}
    for _ in range(rounds):
        for callers in CALLERS:
            for system, client in clients.items():

                async def call(number: int, client: Client = client) -> None:
                    await client.post("/", bodies[number % len(bodies)])

                found[system][str(callers)].append(await closed_loop(call, callers, 1, seconds, 0.5))
    return found


def wait(number: int) -> None:
    for _ in range(600):
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{PORT + number}", timeout=2):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server at {PORT + number} did not start")


def ratio(found: dict[str, Any], one: str, other: str, callers: int) -> float:
    """Returns the median over the rounds of the ratio of two systems' rates."""
    pairs = zip(found[one][str(callers)], found[other][str(callers)], strict=True)
    return round(float(statistics.median(a["texts_per_s"] / b["texts_per_s"] for a, b in pairs)), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="the src folder of another tree, measured beside")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve[0], args.serve[1], int(args.serve[2]))
        return
    texts = [text[:120] for text in docstrings(1000)]
    with tempfile.TemporaryDirectory() as scratch:
        same = make_checkpoint(Path(scratch) / "same", layout="merged", task="code", dtype="float32")
        theirs = Path(shutil.copytree(same, Path(scratch) / "theirs"))
        (theirs / "chat_template.jinja").unlink()
        ours = HERE.parent / "src"
        systems: dict[str, tuple[Path | str, Path]] = {"ours": ("pocket", ours)}
        if args.before:
            systems["before"] = ("pocket", args.before)
        systems |= {"same-weights": (same, ours), "sentence-transformers": (theirs, ours)}
        servers = [
            start(name, folder, number, source) for number, (name, (folder, source)) in enumerate(systems.items())
        ]
        try:
            for number in range(len(servers)):
                wait(number)
            found = asyncio.run(measure(list(systems), texts, args.rounds, args.seconds))
        finally:
            for server in servers:
                server.terminate()
    compared = [("same-weights", "sentence-transformers"), *([("ours", "before")] if args.before else [])]
    ratios = {f"{a} / {b}, {n} x 1": ratio(found, a, b, n) for a, b in compared for n in CALLERS}
    print(json.dumps(ratios, indent=1))
    write_result("online_cpu", {"rows": found, "ratios": ratios})


if __name__ == "__main__":
    main()
