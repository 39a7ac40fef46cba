"""Engines in processes of their own that are killed, or stop, under load, again and again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from dying import ended_under_load
from long_results import keep, share
from served import free_port, wait_until_ready

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

NUM_CLIENTS = 8
# As on a GPU: on a CPU one batch may take minutes, so that a hang is seen after minutes only.
HANG_S = 10.0

ENGINE = f"""
import asyncio
from jina_embeddings import JinaEmbeddings
from jina_embeddings.engine.padded import PaddedEngine

PaddedEngine.hang_s = property(lambda self: {HANG_S}, lambda self, value: None)

async def hosted(model):
    async with model.hosted() as path:
        print(path, flush=True)
        await asyncio.sleep(3600)

with JinaEmbeddings("pocket", engine="torch") as model:
    model.run_async(hosted(model))
"""

# The command itself, with that engine in place of the one that it would load. Processes that it spawns import this too.
COMMAND = """
import sys
from pathlib import Path
from jina_embeddings import embedder
from jina_embeddings.cli import main
from jina_embeddings.engine.remote.engine import RemoteEngine

if __name__ == "__main__":
    path = Path(sys.argv.pop(1))
    embedder.load_engine = lambda *arguments: RemoteEngine(path)
    main()
"""


@pytest.mark.parametrize(
    ("sent", "within_s", "front_ends", "count"),
    [
        (signal.SIGKILL, 2.0, 1, 40),
        (signal.SIGKILL, 2.0, 2, 10),
        (signal.SIGSTOP, 15.0, 1, 16),
        (signal.SIGSTOP, 15.0, 2, 4),
    ],
)
def test_engines_that_end_under_load_leave_nobody_waiting(
    tmp_path: Path, sent: signal.Signals, within_s: float, front_ends: int, count: int
) -> None:
    seconds, statuses, exits, lost = list[float](), Counter[int](), Counter[int | None](), 0
    for _ in range(share(count)):
        with served_by_another_process(tmp_path, front_ends) as (address, server, engine):
            ended = ended_under_load(address, server, partial(engine.send_signal, sent), NUM_CLIENTS)
        seconds.append(ended.seconds)
        statuses += ended.statuses
        exits[server.returncode] += 1
        lost += ended.lost
        # Every client had a request waiting when the engine ended.
        assert ended.statuses[503] >= NUM_CLIENTS
    keep(
        f"engines that end by {sent.name}, front ends: {front_ends}",
        engine="pocket on torch in a process of its own",
        ended=share(count),
        slowest_not_ready_s=round(max(seconds), 2),
        statuses=dict(statuses),
        lost=lost,
        exit_statuses=dict(exits),
    )
    assert set(statuses) == {200, 503}
    assert set(exits) == {2}
    assert lost == 0
    assert max(seconds) < within_s


@contextmanager
def served_by_another_process(
    folder: Path, front_ends: int
) -> Iterator[tuple[str, subprocess.Popen[str], subprocess.Popen[str]]]:
    """The address of the server, its process, and that of its engine."""
    (script := folder / "serve.py").write_text(COMMAND)
    address = f"http://127.0.0.1:{(port := free_port())}"
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([sys.executable, "-c", ENGINE], stdout=subprocess.PIPE, stderr=log, text=True) as engine,
    ):
        assert engine.stdout is not None
        path = engine.stdout.readline().strip()
        options = ["--model", "pocket", "--engine", "torch", "--port", str(port), "--front-ends", str(front_ends)]
        command = [sys.executable, str(script), path, "serve", "--no-log-requests", "--drain", "1", *options]
        with subprocess.Popen(command, stdout=log, stderr=log, text=True) as server:
            try:
                wait_until_ready(address, server, folder / "log")
                yield address, server, engine
            finally:
                server.kill()
                engine.kill()
