"""Processes with vLLM's names end with their parent, forked or spawned; others don't."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.long

PATIENCE_S = 20

# Like vLLM, the program starts an engine process from a thread that ends, and that process starts a worker.
PROGRAM = textwrap.dedent("""
    import multiprocessing, os, sys, threading, time
    from jina_embeddings.plugin.parent import forks_are_watched, watch_parent

    def worker():
        watch_parent()
        print(os.getpid(), flush=True)
        time.sleep(300)

    def engine(method):
        watch_parent()
        print(os.getpid(), flush=True)
        multiprocessing.get_context(method).Process(target=worker, name="VllmWorker-0").start()
        time.sleep(300)

    def start(method, name):
        with forks_are_watched():
            multiprocessing.get_context(method).Process(target=engine, args=(method,), name=name).start()

    if __name__ == "__main__":
        thread = threading.Thread(target=start, args=sys.argv[1:])
        thread.start()
        thread.join()
        time.sleep(300)
""")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "program.py").write_text(PROGRAM)
    yield started
    for process in started:
        process.kill()
        process.communicate()


def _start(folder: Path, started: list[subprocess.Popen[str]], method: str, name: str) -> list[psutil.Process]:
    """The process ids that the program prints, the engine's first."""
    command = [sys.executable, str(folder / "program.py"), method, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    started.append(process)
    assert process.stdout is not None
    return [psutil.Process(int(process.stdout.readline())) for _ in range(2)]


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_vllms_processes_end_with_the_program_that_started_them(
    program: list[subprocess.Popen[str]], tmp_path: Path, method: str, sent: signal.Signals
) -> None:
    processes = _start(tmp_path, program, method, "EngineCore")
    program[0].send_signal(sent)
    assert psutil.wait_procs(processes, timeout=PATIENCE_S)[1] == []


def test_a_process_of_another_name_is_left_alone(program: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    processes = _start(tmp_path, program, "fork", "MyOwnProcess")
    program[0].kill()
    alive = psutil.wait_procs(processes, timeout=3)[1]
    for process in alive:
        process.kill()
    # The worker's parent still lives.
    assert len(alive) == 2
