"""Commands whose standard streams are closed, full, or of an encoding that lacks a character."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jina_embeddings.cli import app
from jina_embeddings.cli.streams import open_streams, read_text
from jina_embeddings.cli.terminal import ERROR, command, say
from jina_embeddings.errors import InputError

TEXT = "naïve 数据 🦊"
MAIN = "from jina_embeddings.cli import main; main()"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def run(*arguments: str, shell: str = "", **env: str) -> Any:
    """The console script as a process; shell: redirections."""
    command = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-c", MAIN, *arguments, "--engine", "fake"]
    return subprocess.run(command, capture_output=True, input=b"", env={**os.environ, **env}, check=False)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"na\u00efve \u6570\u636e \ud83e\udd8a"),
        ("latin-1", r"naïve \u6570\u636e \ud83e\udd8a"),
        ("utf-8", TEXT),
    ],
)
def test_what_an_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str) -> None:
    """As JSON escapes it, so that JSON stays JSON."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    open_streams()
    print(json.dumps(TEXT, ensure_ascii=False), flush=True)
    assert written.getvalue().decode(encoding) == f'"{shown}"\n'
    assert json.loads(written.getvalue().decode(encoding)) == TEXT
    print("\udcff", flush=True)  # of a file's name that isn't UTF-8


def test_a_command_shows_all_that_its_terminal_lacks() -> None:
    done = run("similar", TEXT, "b", "c", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii").splitlines()[0].endswith(r"na\u00efve \u6570\u636e \ud83e\udd8a")


def test_output_that_can_not_be_written_is_an_error_once() -> None:
    """And not status 1, which a search gives that found nothing."""
    done = run("similar", "a", "b", shell=">/dev/full")
    assert done.returncode == ERROR
    assert done.stderr.decode().splitlines() == ["error [os_error]: [Errno 28] No space left on device"]


def test_what_nobody_expected_has_the_status_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception) as raised, command(debug=False):
        raise ZeroDivisionError
    assert getattr(raised.value, "exit_code", None) == ERROR
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_no_rows_and_no_status(closed: str) -> None:
    Path("a.txt").write_text("one\ntwo\n", encoding="utf-8")
    done = run("dedup", "a.txt", "-o", "kept.txt", shell=closed)
    assert done.returncode == 0, done.stderr
    assert Path("kept.txt").read_bytes() == b"one\ntwo\n"


def test_closed_standard_input_has_nothing_in_it() -> None:
    done = run("embed", "-", "-o", "v.jsonl", shell="<&-")
    assert done.returncode == ERROR
    assert done.stderr.decode().splitlines() == ["error [empty_input]: there is nothing to embed in what was given"]


@pytest.mark.long
def test_dedup_writes_its_file_though_its_reader_leaves() -> None:
    Path("a.txt").write_text("".join(f"number {n} {TEXT}\n" * 2 for n in range(3000)), encoding="utf-8")
    done = run("dedup", "a.txt", "-o", "kept.txt", "--threshold", "0.9999", shell="| head -c 10 >/dev/null")
    assert b"Traceback" not in done.stderr
    assert len(Path("kept.txt").read_text("utf-8").splitlines()) == 3000


def test_nobody_who_reads_errors_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        say("nobody reads this")
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


MARKED = [TEXT.encode(), TEXT.encode("utf-8-sig")]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("data", MARKED, ids=["plain", "marked"])
def test_a_text_on_standard_input_is_utf8_without_a_mark(
    monkeypatch: pytest.MonkeyPatch, encoding: str, data: bytes
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding=encoding))
    assert read_text() == TEXT


def test_standard_input_in_another_encoding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode("utf-16"))))
    with pytest.raises(InputError, match="standard input is not UTF-8 at byte 0"):
        read_text()


def test_a_mark_changes_nothing_in_what_is_embedded_and_looked_for() -> None:
    Path("repo").mkdir()
    Path("repo/a.py").write_text("def naïve():\n    return 1\n", encoding="utf-8")

    def invoke(*arguments: str, data: bytes = b"") -> str:
        result = CliRunner().invoke(app, [*arguments, "--engine", "fake"], input=data, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    invoke("code", "index", "repo", "--index", "code")
    searched = [invoke("code", "search", "-", "--index", "code", "--json", data=data) for data in MARKED]
    assert searched[0] == searched[1] != ""
    for number, data in enumerate(MARKED):
        invoke("embed", "-", "-o", f"{number}.jsonl", data=data)
    assert Path("0.jsonl").read_bytes() == Path("1.jsonl").read_bytes()
