"""Calls of one text or a few from many callers, over HTTP and in the process: rates and latencies.

    python benchmarks/online.py --scratch /dev/shm/t                    # a GPU: about 8 minutes
    python benchmarks/online.py --size tiny --systems ours              # a CPU: says nothing about speed

Servers are loaded side by side and measured one after another, while the others wait. Callers are a closed loop: each
asks again when it has its answer. `ours` is this package's server, in rows called `plain` a minimal ASGI app instead;
`fronts` is the server as a command, with four front ends; `stock` is vLLM's own server on a checkpoint with one task
merged, with its mean pooler; `before` is `ours` from another tree's `src`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from from_tools import RESULTS, circumstances, make_checkpoint
from input_sets import make_texts
from jina_embeddings.engine.event_loop import new_event_loop
from online_app import closed_loop

HERE = Path(__file__).parent
PREFIX = "Passage: "
PORT = 18_100
# Callers, texts of a call, and the set they are of.
ROWS = [
    *((callers, texts, "short") for callers in (1, 8, 64, 256) for texts in (1, 16)),
    *((callers, 1, "passages") for callers in (1, 64, 256)),
]
FEW_ROWS = [(1, 1, "short"), (64, 1, "short"), (256, 1, "short"), (64, 16, "short"), (64, 1, "passages")]
TASKS = ("retrieval.passage", "text-matching", "code.passage")
SYSTEMS = ("ours", "stock", "fronts", "ours-fp8", "before")
FRONT_ENDS = 4


class Client:
    """Connections of one server, kept open; HTTP/1.1 by hand, so that the client costs little."""

    def __init__(self, port: int):
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: bytes) -> bytes:
        if self._free:
            reader, writer = self._free.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        status, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        lengths = [line for line in rest.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        answer = await reader.readexactly(int(lengths[0].split(b":")[1]))
        self._free.append((reader, writer))
        if b" 200 " not in status:
            raise RuntimeError(f"{status!r}: {answer[:500]!r}")
        return answer


class Server:
    """One system in a process of its own."""

    def __init__(self, name: str, number: int, scratch: Path, gpu: bool, before: Path | None, own: dict[str, Any]):
        self.name = name
        self.port = PORT + number
        self._health = "/health/ready" if name == "fronts" else "/health"
        environment = dict(os.environ)
        source = before if name == "before" and before else HERE.parent / "src"
        environment["PYTHONPATH"] = os.pathsep.join([str(source), str(HERE), environment.get("PYTHONPATH", "")])
        self.log = scratch / f"{name}.log"
        command = [sys.executable, str(HERE / "online_app.py"), str(self.port), str(scratch / "multi-task")]
        options = {"gpu_memory_utilization": 0.25, "max_model_len": 4096, **own} if gpu else {}
        if name == "ours-fp8":
            options["quantization"] = "fp8"
        command += [str(scratch / "texts.json"), *(f"{key}={json.dumps(value)}" for key, value in options.items())]
        if name == "fronts":
            command = [sys.executable, "-m", "jina_embeddings", "serve", "--model", str(scratch / "multi-task")]
            command += ["--engine", "vllm", "--port", str(self.port), "--front-ends", str(FRONT_ENDS)]
            command += ["--drain", "0", "--no-log-requests", "--decoders", "1"]
            command += [f"--option={key}={json.dumps(value)}" for key, value in options.items()]
        if name == "stock":
            command = _stock(self.port, scratch / "merged", gpu)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def wait(self, until: float) -> bool:
        """Whether it answers before that time."""
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._health}", timeout=2):
                return True
            time.sleep(0.5)
        print(f"{self.name} did not start:\n{self.log.read_text()[-3000:]}", flush=True)
        return False

    def processor_s(self) -> float:
        """Seconds of processor time of the process that serves, without those that it has started."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()


def _stock(port: int, folder: Path, gpu: bool) -> list[str]:
    start = "from jina_embeddings.torch_companions import repair; repair(); import runpy; "
    start += "runpy.run_module('vllm.entrypoints.openai.api_server', run_name='__main__', alter_sys=True)"
    options = ["--model", str(folder), "--served-model-name", "m", "--runner", "pooling", "--port", str(port)]
    options += ["--host", "127.0.0.1", "--max-model-len", "4096", "--no-enable-prefix-caching", "--disable-log-stats"]
    options += ["--pooler-config", json.dumps({"task": "embed", "seq_pooling_type": "MEAN", "use_activation": True})]
    options += ["--limit-mm-per-prompt", json.dumps({"image": 0, "video": 0}), "--disable-uvicorn-access-log"]
    options += ["--dtype", "bfloat16" if gpu else "float32", "--kv-cache-memory-bytes", str((2 if gpu else 1) * 2**30)]
    options += ["--gpu-memory-utilization", "0.15"] if gpu else ["--enforce-eager"]
    return [sys.executable, "-c", start, *options]


class Measurements:
    """The rows so far; the file is written after each, so that a stopped run keeps what it has."""

    def __init__(
        self, output: Path, servers: list[Server], sets: dict[str, list[str]], seconds: float, own: dict[str, Any]
    ):
        self._output, self._servers, self._sets, self._seconds = output, servers, sets, seconds
        self._found: dict[str, Any] = {**circumstances(), **own, "rows": []}

    async def run(self, rows: list[tuple[int, int, str]], *, bulk: int, gpu: bool, until: float) -> None:
        by_name = {server.name: server for server in self._servers}
        steps = list(_steps([server.name for server in self._servers], rows, bulk, self._seconds, gpu))
        for name, step in steps:
            if time.monotonic() > until:
                print("out of time", flush=True)
                return
            try:
                found = await self._measure(by_name[name], dict(step))
            except Exception as error:
                found = {"error": f"{type(error).__name__}: {error}"}
            self._found["rows"].append({"system": name, **step, **found})
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._output.write_text(json.dumps(self._found, indent=1) + "\n")
            print(json.dumps(self._found["rows"][-1])[:1500], flush=True)

    async def _measure(self, server: Server, step: dict[str, Any]) -> dict[str, Any]:
        what, client = step.pop("what"), Client(server.port)
        if what not in ("http", "plain", "mixed"):
            if what == "inside":
                step["seconds"] = self._seconds
            found: dict[str, Any] = json.loads(await client.post(f"/{what}", json.dumps(step).encode()))
            return found
        texts, count = self._sets[step["name"]], step["texts"]
        prefix = PREFIX if server.name == "stock" else ""
        bodies: list[bytes] = []
        for first in range(0, min(len(texts), 4096 * count) - count, count):
            body: dict[str, Any] = {"model": "m", "encoding_format": "base64"}
            body["input"] = [prefix + text for text in texts[first : first + count]]
            if server.name != "stock":
                body["task"] = TASKS[0]
            if what == "mixed":
                body |= {"task": TASKS[len(bodies) % 3], "return_multivector": len(bodies) // 3 % 2 == 1}
            bodies.append(json.dumps(body).encode())

        async def call(number: int) -> None:
            await client.post("/plain" if what == "plain" else "/v1/embeddings", bodies[number % len(bodies)])

        has_packs = server.name.startswith("ours")
        if has_packs:
            await client.post("/packs", b"{}")
        began = server.processor_s()
        found = await closed_loop(call, step["callers"], count, self._seconds)
        # Of the warm-up too, which is a second.
        answered = found["texts_per_s"] / count * (self._seconds + 1)
        found["processor_ms_per_call"] = round(1000 * (server.processor_s() - began) / answered, 3)
        return {**found, "packs": json.loads(await client.post("/packs", b"{}"))} if has_packs else found


def _steps(
    names: list[str], rows: list[tuple[int, int, str]], bulk: int, seconds: float, gpu: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields what is measured of which system, the most important first."""
    ours = "ours" in names
    if ours:
        yield "ours", {"what": "parts", "seconds": seconds}
        yield "ours", {"what": "bulk", "name": "short", "count": bulk}
    for row in [*FEW_ROWS, *(row for row in rows if row not in FEW_ROWS)]:
        callers, texts, which = row
        for name in names:
            if name in ("ours", "stock", "fronts") or (name == "ours-fp8" and row in FEW_ROWS[:3]):
                yield name, {"what": "http", "callers": callers, "texts": texts, "name": which}
            if name.startswith("ours") and row in FEW_ROWS[:4]:
                yield name, {"what": "inside", "callers": callers, "texts": texts, "name": which}
            if name == "ours" and row in FEW_ROWS[:4]:
                yield name, {"what": "plain", "callers": callers, "texts": texts, "name": which}
        if row == FEW_ROWS[-1] and ours:
            yield "ours", {"what": "mixed", "callers": 64, "texts": 1, "name": "short"}
            for name in ("ours", "before"):
                if name in names:
                    yield name, {"what": "page", "seconds": seconds}
            for name in ("ours", "ours-fp8"):
                if name in names:
                    yield name, {"what": "pages", "count": 256 if gpu else 4}
            yield "ours", {"what": "bulk", "name": "passages", "count": max(64, bulk // 10)}
            yield "ours", {"what": "beside", "name": "short", "count": bulk}
            yield "ours", {"what": "memory"}
    for name in ("ours-fp8", "before"):
        if name in names:
            yield name, {"what": "bulk", "name": "short", "count": bulk}
    for name in ("ours", "ours-fp8"):
        if name in names and gpu:
            yield name, {"what": "graphs"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/online"))
    parser.add_argument("--output", type=Path, default=RESULTS / "online.json")
    parser.add_argument("--size", default="v4", choices=("v4", "tiny"))
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--graph-tokens", type=int, help="of our systems, if not their default")
    parser.add_argument("--before", type=Path, help="the src folder of another tree, measured beside")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each row, after one of warming up")
    parser.add_argument("--bulk", type=int, default=100_000, help="texts of the large call")
    parser.add_argument("--few", action="store_true", help="only the rows that goals are set for")
    parser.add_argument("--limit", type=float, default=570, help="seconds of the whole run")
    args = parser.parse_args()
    until = time.monotonic() + args.limit
    gpu = args.size == "v4"
    names = [name for name in args.systems.split(",") if name != "before" or args.before]
    args.scratch.mkdir(parents=True, exist_ok=True)
    device, dtype = ("cuda", "bfloat16") if gpu else ("cpu", "float32")
    for kind in ("multi-task", "merged"):
        if not (args.scratch / kind / "whole").exists() and (kind == "multi-task" or "stock" in names):
            layout: dict[str, Any] = {"layout": "merged"} if kind == "merged" else {}
            make_checkpoint(args.scratch / kind, size=args.size, dtype=dtype, device=device, **layout)
            (args.scratch / kind / "whole").touch()
    if gpu:
        import torch

        torch.cuda.empty_cache()
    counts = {"short": 20_000, "passages": 3000} if gpu else {"short": 600, "passages": 300}
    sets = make_texts(args.scratch / "multi-task" / "tokenizer.json", counts, PREFIX)
    (args.scratch / "texts.json").write_text(json.dumps(sets))
    own = {} if args.graph_tokens is None else {"graph_tokens": args.graph_tokens}
    servers = [Server(name, number, args.scratch, gpu, args.before, own) for number, name in enumerate(names)]
    try:
        ready = [server for server in servers if server.wait(until - 60)]
        print(f"{len(ready)} servers are ready, {until - time.monotonic():.0f} s are left", flush=True)
        rows = FEW_ROWS if args.few else ROWS
        run = Measurements(args.output, ready, sets, args.seconds, own)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run.run(rows, bulk=args.bulk, gpu=gpu, until=until))
    finally:
        for server in servers:
            server.close()


if __name__ == "__main__":
    main()
