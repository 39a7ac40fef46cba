"""`serve` on a CPU whose cores others use too: texts a second with and without `cpu_threads="free"`.

    python benchmarks/busy_cores.py       # five minutes on two cores

`pocket` on torch, four callers of eight texts, measured in turns: alone, and beside one process for each core that does
nothing but count. `free` is what the command does by itself, `all` what torch does. `passive` is `all` with
OMP_WAIT_POLICY=passive, whose threads sleep while they wait for others, and `one` has OMP_NUM_THREADS=1.
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
from contextlib import ExitStack, contextmanager, suppress
from statistics import median
from typing import Any

from from_tools import write_result
from online import Client
from online_app import closed_loop
from texts import docstrings

PORT = 18_400
CALLERS, TEXTS = 4, 8
# Options of the command, and environment variables.
SYSTEMS: dict[str, tuple[str, dict[str, str]]] = {
    "free": ("free", {}),
    "all": ("all", {}),
    "passive": ("all", {"OMP_WAIT_POLICY": "passive"}),
    "one": ("all", {"OMP_NUM_THREADS": "1"}),
}


@contextmanager
def serving(number: int, threads: str, variables: dict[str, str]) -> Iterator[Client]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")} | variables
    options = ["--model", "pocket", "--engine", "torch", "--no-log-requests", "--drain", "0"]
    command = [sys.executable, "-m", "jina_embeddings", "serve", *options, "--port", str(PORT + number)]
    with subprocess.Popen([*command, "--option", f"cpu_threads={threads}"], env=environment) as process:
        try:
            for _ in range(300):
                with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{PORT + number}/health/ready"):
                    break
                time.sleep(0.2)
            yield Client(PORT + number)
        finally:
            process.terminate()


@contextmanager
def others(count: int) -> Iterator[None]:
    """Processes that use a core each."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def measure(client: Client, bodies: list[bytes], seconds: float) -> float:
    async def call(number: int) -> None:
        await client.post("/v1/embeddings", bodies[number % len(bodies)])

    # Six seconds to notice what has changed.
    return (await closed_loop(call, CALLERS, TEXTS, seconds, 6.0))["texts_per_s"]


async def measure_all(clients: dict[str, Client], bodies: list[bytes], rounds: int, seconds: float) -> Any:
    cores = len(os.sched_getaffinity(0))
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for count in range(cores + 1):
            with others(count):
                for name, client in clients.items():
                    rates = found.setdefault(name, {}).setdefault(str(count), [])
                    rates.append(await measure(client, bodies, seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    texts = [text[:120] for text in docstrings(1000)]
    bodies = [
        json.dumps({"input": texts[first : first + TEXTS], "embedding_type": "base64"}).encode()
        for first in range(0, len(texts) - TEXTS, TEXTS)
    ]
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(serving(number, *how)) for number, (name, how) in enumerate(SYSTEMS.items())
        }
        rates = asyncio.run(measure_all(clients, bodies, arguments.rounds, arguments.seconds))
    medians = {name: {count: median(found) for count, found in by.items()} for name, by in rates.items()}
    write_result(
        "busy_cores",
        {"load_average": os.getloadavg(), "texts_per_s_beside_other_processes": medians, "rounds": rates},
    )


if __name__ == "__main__":
    main()
