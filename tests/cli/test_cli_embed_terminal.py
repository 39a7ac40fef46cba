"""`jina-embeddings embed`: progress, interrupts and kills."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embed_command import COMMAND, run
from jina_embeddings.engine.fake import FakeEngine

MAX_STOP_S = 10


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in; what the command sets in the environment is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_without_a_terminal_only_one_line_is_printed() -> None:
    done = subprocess.run(
        [*COMMAND, "embed", "-", "-o", "v.jsonl", "--engine", "fake"], input=b"x\ny", capture_output=True, check=True
    )
    assert done.stdout == b""
    assert done.stderr.decode().count("\n") == 1
    assert done.stderr.decode().startswith("2 rows in ")
    assert "rows/s) in v.jsonl" in done.stderr.decode()


@pytest.mark.long
def test_a_terminal_gets_a_progress_bar_with_count_total_and_rate() -> None:
    Path("r.jsonl").write_text('{"text": "x"}\n' * 3000)
    ours, theirs = pty.openpty()
    command = [*COMMAND, "embed", "r.jsonl", "-o", "v.parquet", "--engine", "fake"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        # Linux ends a pseudo-terminal with an error, not with an end of file.
        while block := _read(ours):
            shown += block
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "of 3,000 rows" in text
    assert " rows/s" in text
    assert text.rstrip().splitlines()[-1].endswith("in v.parquet")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.fixture(autouse=True)
def _interrupts_count() -> Iterator[None]:
    """A shell makes its background jobs, and the processes that they start, ignore SIGINT, and nohup SIGHUP."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGHUP, before[1])


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """A run that is reading its input, of which there is more to come, and has begun to write."""
    command = [*COMMAND, "embed", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"x\n" * 100)
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not any(name.endswith(".part") for name in os.listdir()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_no_file(number: int) -> None:
    with start("-", "-o", "v.parquet", "--engine", "fake") as process:
        process.send_signal(number)
        _, stderr = process.communicate(timeout=MAX_STOP_S)
    assert process.returncode == 130
    assert stderr == b"interrupted\n"
    assert os.listdir() == []


def test_a_killed_run_leaves_nothing_under_the_files_name() -> None:
    Path("v.parquet").write_text("old")
    with start("-", "-o", "v.parquet", "--overwrite", "--engine", "fake") as process:
        process.kill()
    assert Path("v.parquet").read_text() == "old"


def test_an_interrupt_does_not_wait_for_running_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine below takes long over every chunk, until it is closed."""
    closed = threading.Event()

    class SlowEngine(FakeEngine):
        def run(self, batch: Any, *, batch_size: int | None = None, call_size: int | None = None) -> Any:
            # Later, when the main thread waits for the result of this one.
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            closed.wait(2 * MAX_STOP_S)
            return super().run(batch, batch_size=batch_size)

        def close(self) -> None:
            super().close()
            closed.set()

    monkeypatch.setattr("jina_embeddings.engine.fake.FakeEngine", SlowEngine)
    before = signal.getsignal(signal.SIGINT)
    began = time.perf_counter()
    result = run("-", "-o", "v.parquet", stdin="x")
    assert result.exit_code == 130
    assert time.perf_counter() - began < MAX_STOP_S
    assert os.listdir() == []
    assert signal.getsignal(signal.SIGINT) == before
