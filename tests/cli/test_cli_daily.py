"""What a shell expects of a command: -h, completion, `python -m`, a quiet end; and hints for slips."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jina_embeddings
from jina_embeddings.cli import app

MODULE = [sys.executable, "-m", "jina_embeddings"]
WAIT_S = 120


@pytest.mark.parametrize("command", [[], ["embed"], ["code", "search"], ["doctor"]])
def test_h_is_help(command: list[str]) -> None:
    assert CliRunner().invoke(app, [*command, "-h"]).stdout == CliRunner().invoke(app, [*command, "--help"]).stdout


def test_python_m_is_the_command() -> None:
    done = subprocess.run([*MODULE, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"jina-embeddings {jina_embeddings.__version__}\n"
    assert "Usage: jina-embeddings " in subprocess.run([*MODULE, "-h"], capture_output=True, text=True).stdout


def test_completion_is_installed_for_the_name_of_the_command(tmp_path: Path) -> None:
    # typer takes the shell that is named instead of looking for one among the processes above.
    environment = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    subprocess.run([*MODULE, "--install-completion", "bash"], env=environment, capture_output=True, check=True)
    (script,) = [path for path in tmp_path.rglob("*jina-embeddings*") if path.is_file()]
    assert "complete -o default -F" in script.read_text()
    environment |= {
        "_JINA_EMBEDDINGS_COMPLETE": "complete_bash",
        "COMP_WORDS": "jina-embeddings par",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(MODULE, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["paraphrases"]


def test_a_model_that_is_nearly_a_bundled_one_is_answered_without_a_hub() -> None:
    result = CliRunner().invoke(app, ["similar", "a", "b", "--model", "pockett"])
    assert result.exit_code == 2
    assert result.stderr.endswith("no folder and no bundled model 'pockett'; did you mean 'pocket'?\n")


def test_a_model_that_is_nearly_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my-model").mkdir()
    Path("my-model/config.json").write_text("{}")
    result = CliRunner().invoke(app, ["similar", "a", "b", "--model", "my-modle"])
    assert "did you mean 'my-model'?" in result.stderr


def test_a_model_that_is_nearly_a_published_one() -> None:
    name = "jinaai/jina-embedings-v4"
    result = CliRunner().invoke(app, ["similar", "a", "b", "--model", name, "--local-files-only"])
    assert f"error [checkpoint_not_found]: {name} is not in the local cache, and may not be fetched: " in result.stderr
    assert "did you mean 'jinaai/jina-embeddings-v4'?" in result.stderr


@pytest.mark.long
def test_an_object_store_that_can_not_be_reached_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("text")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "c",
        "AWS_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for command in (["index", str(tmp_path), "--into", "s3://bucket/i"], ["search", "s3://bucket/i", "words"]):
        result = CliRunner().invoke(app, [*command, "--engine", "fake"])
        assert result.exit_code == 2
        last = result.stderr.splitlines()[-1]
        assert last.startswith("error [index_unreachable]: s3://bucket/i can't be read or written: check its name")
        assert len(last) < 600


@pytest.mark.long
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_the_page_without_a_traceback(tmp_path: Path, presses: int) -> None:
    (tmp_path / "a.md").write_text("# One\n\nBread needs water.\n")
    into = str(tmp_path / "index")
    CliRunner().invoke(app, ["index", str(tmp_path / "a.md"), "--into", into, "--engine", "fake"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NICEGUI"))}
    command = [*MODULE, "browse", into, "--engine", "fake", "--port", str(port), "--no-open"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + WAIT_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        _, printed = process.communicate(timeout=WAIT_S)
    assert "interrupted" in printed
    assert "Traceback" not in printed
