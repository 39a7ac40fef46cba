"""Signals that arrive before the server serves: nobody waits for an answer, so all of it ends at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from jina_embeddings.cli.process import stops_on_signals
from served import free_port

# The command, with an engine whose loading starts a process that doesn't heed SIGTERM, and then blocks in C for ever.
BLOCKED = """
import ctypes, signal, subprocess, sys
from pathlib import Path

def load(*arguments):
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
    process.stdout.readline()
    started.with_suffix(".new").write_text(str(process.pid))
    started.with_suffix(".new").rename(started)
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)

if __name__ == "__main__":
    # A shell may have started the tests in the background, and with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = Path(sys.argv.pop(1))
    from jina_embeddings import embedder
    from jina_embeddings.cli import main
    embedder.load_engine = load
    main()
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
@pytest.mark.parametrize("options", [[], ["--front-ends", "2"]], ids=["alone", "front-ends"])
def test_a_start_that_blocks_is_ended_with_all_its_processes(
    tmp_path: Path, sent: signal.Signals, options: list[str]
) -> None:
    (script := tmp_path / "serve.py").write_text(BLOCKED)
    started = tmp_path / "started"
    command = [sys.executable, str(script), str(started), "serve", "--model", "pocket", "--engine", "torch", *options]
    with subprocess.Popen([*command, "--port", str(free_port())], stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not started.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        child = psutil.Process(int(started.read_text()))
        # Keys are read when the server starts.
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        process.send_signal(sent)
        begun = time.monotonic()
        _, stderr = process.communicate(timeout=60)
        # A second of grace for the child, and as much for a slow machine.
        assert time.monotonic() - begun < 4
    assert process.returncode == 0
    assert stderr == f"ended by {sent.name}\n"
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks the system whether a process handles a signal")
@pytest.mark.parametrize("later_s", [0.0, 0.1, 0.4, 0.9])
def test_a_signal_ends_a_start_whenever_it_arrives(later_s: float) -> None:
    command = [sys.executable, "-m", "jina_embeddings", "serve", "--model", "pocket", "--engine", "torch"]
    with subprocess.Popen([*command, "--drain", "0", "--port", str(free_port())], stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not handles(process.pid, signal.SIGTERM) and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(later_s)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def handles(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (number - 1) & 1)


@pytest.mark.parametrize("words", [["serve"], ["--config", "c.toml", "serve"], ["--config=c.toml", "serve", "--port"]])
def test_signals_are_handled_before_anything_large_is_imported(words: list[str]) -> None:
    code = """
import sys
from jina_embeddings.cli import ending, main
ending.on_signals = lambda: sys.exit(sorted({"typer", "rich", "numpy", "httpx", "psutil"} & set(sys.modules)))
main()
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("words", [["search", "serve"], ["--config", "serve", "status"], ["--version"], []])
def test_other_commands_keep_their_signals(words: list[str]) -> None:
    code = """
import signal, sys
from jina_embeddings.cli import commands, main
commands.run = lambda: print(signal.getsignal(signal.SIGTERM).name)
main()
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.stdout == "SIG_DFL\n"


def test_a_model_that_closes_on_signals_leaves_those_that_the_command_handles() -> None:
    def handler(number: int, frame: object) -> None:
        pass

    # Whoever runs the tests may ignore SIGINT.
    before = [signal.signal(signal.SIGTERM, handler), signal.signal(signal.SIGINT, signal.default_int_handler)]
    try:
        with stops_on_signals(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is handler
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
