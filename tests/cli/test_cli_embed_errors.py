"""`jina-embeddings embed`: errors, warnings and wrong arguments."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import jina_embeddings
import jina_embeddings.engine.choice
from embed_command import COMMAND, run
from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import app
from jina_embeddings.cli.model import ModelChoice


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in; what the command sets in the environment is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_an_unknown_engine_is_refused_before_a_model_is_fetched() -> None:
    result = run("-", "-o", "v.jsonl", engine="transformer", stdin="x")
    assert result.stderr == "error [unknown_option]: unknown engine 'transformer'; did you mean 'transformers'?\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("-o", "v.csv"), "unknown_option"),
        (("-o", "none/v.npy"), "unknown_option"),
        (("-o", "v.npy", "--multivector"), "unknown_option"),
        (("--embedding-type", "int4"), "unknown_option"),
        (("--on-error", "ignore"), "unknown_option"),
        (("--task", "retrieve"), "unknown_task"),
        (("--prompt-name", "document"), "unknown_prompt"),
        (("--task", "code.query", "--prompt-name", "passage"), "unknown_prompt"),
        (("--multivector", "--truncate-dim", "128"), "unsupported_dimension"),
        (("--option", "max_modl_len=5"), "unknown_option"),
        (("--option", "max_model_len=many"), "unknown_option"),
        (("--option", "enforce_eager=perhaps"), "unknown_option"),
        (("--option", "max_model_len"), "unknown_option"),
        (("--option", "dtype=float32", "--dtype", "float32"), "unknown_option"),
    ],
)
def test_wrong_arguments_are_refused_before_the_model_is_looked_for(arguments: tuple[str, ...], code: str) -> None:
    output = () if "-o" in arguments else ("-o", "v.jsonl")
    result = run("-", *output, *arguments, "--model", "/no/such/model", engine="torch", stdin="x")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error [{code}]: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--model", "/no/such/model"), "checkpoint_not_found"),
        (("--truncate-dim", "100", "--engine", "fake"), "unsupported_dimension"),
        (("--option", "dtype=float8", "--engine", "fake"), "unknown_option"),
        (("--local-files-only", "--model", "no-such/model"), "checkpoint_not_found"),
    ],
)
def test_errors_of_the_library_are_one_line(arguments: tuple[str, ...], code: str) -> None:
    command = ["embed", "-", "-o", "v.jsonl", "--engine", "torch", *arguments]
    result = CliRunner().invoke(app, command, input="x", catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error [{code}]: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir() == []


def test_options_reach_the_model_in_their_own_types(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class Recorded(JinaEmbeddings):
        def __init__(self, model: str, **options: Any) -> None:
            given.update(options, model=model)
            super().__init__(model, **options)

    monkeypatch.setattr("jina_embeddings.embedder.JinaEmbeddings", Recorded)
    pairs = ("max_model_len=64", "normalize=no", "gpu_memory_utilization=0.5", "cache_dtype=fp8", "merge_adapter=code")
    arguments = [part for pair in pairs for part in ("--option", pair)]
    others = ("--model", "m", "--revision", "r", "--task", "code", "--device", "cpu", "--dtype", "bfloat16")
    assert run("-", "-o", "v.jsonl", *arguments, *others, stdin="x").exit_code == 0
    assert given == {
        "model": "m",
        "engine": "fake",
        "revision": "r",
        "task": "code",
        "local_files_only": False,
        "cpu_threads": "free",
        "device": "cpu",
        "dtype": "bfloat16",
        "max_model_len": 64,
        "normalize": False,
        "gpu_memory_utilization": 0.5,
        "cache_dtype": "fp8",
        "merge_adapter": "code",
    }


@pytest.mark.long
def test_debug_shows_the_traceback_and_nothing_else_does() -> None:
    arguments = [*COMMAND, "embed", "-", "-o", "v.csv", "--engine", "fake"]
    plain = subprocess.run(arguments, input=b"x", capture_output=True)
    debug = subprocess.run([*arguments, "--debug"], input=b"x", capture_output=True)
    assert plain.returncode == debug.returncode == 2
    assert plain.stderr.count(b"\n") == 1
    assert debug.stderr.startswith(b"Traceback")
    assert debug.stderr.endswith(plain.stderr)


@pytest.mark.long
def test_debug_shows_the_packages_messages() -> None:
    arguments = ["embed", "-", "-o", "v.jsonl", "--engine", "fake", "--option", "enforce_eager=true"]
    done = subprocess.run([*COMMAND, *arguments, "--debug"], input=b"x", capture_output=True, check=True)
    assert b"enforce_eager has no effect on the fake engine" in done.stderr
    quiet = subprocess.run([*COMMAND, *arguments, "--overwrite"], input=b"x", capture_output=True, check=True)
    assert b"enforce_eager" not in quiet.stderr


def test_warnings_of_the_package_are_shown() -> None:
    arguments = ["embed", "-", "-o", "v.jsonl", "--engine", "fake", "--option", "swap_space=4"]
    done = subprocess.run([*COMMAND, *arguments], input=b"x", capture_output=True, check=True)
    first, summary = done.stderr.decode().splitlines()
    assert first.startswith("warning: swap_space=4.0: ")
    assert summary.startswith("1 row in ")


def test_what_the_library_calls_by_its_name_is_named_as_the_commands_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("body\nx\n")
    arguments = ["embed", str(tmp_path / "t.csv"), "--output", str(tmp_path / "v.jsonl"), "--engine", "fake"]
    result = CliRunner().invoke(app, arguments)
    assert "name one with --text-field or --image-field" in result.stderr


def test_no_library_module_names_an_option_of_the_command_line() -> None:
    source = Path(jina_embeddings.__file__).parent
    options = {f"--{name.replace('_', '-')}" for name in inspect.signature(ModelChoice.of).parameters}
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        options |= {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    naming = re.compile("|".join(rf"{option}(?![\w-])" for option in sorted(options)))
    strings = [
        (path.relative_to(source).as_posix(), node.value)
        for path in source.rglob("*.py")
        if path.parent.name not in ("cli", "doctor")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
    ]
    # git's own option.
    assert [(path, text) for path, text in strings if naming.search(text) and text != "--others"] == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--overwrite",), "--overwrite and --on-error go with --output FILE"),
        (("--on-error", "raise"), "--overwrite and --on-error go with --output FILE"),
        (("--ray-workers", "2"), "--ray-workers goes with --ray"),
    ],
)
def test_options_that_a_folder_has_no_use_for_are_refused(options: tuple[str, ...], says: str) -> None:
    Path("a.txt").write_text("a")
    result = run("a.txt", "--into", "v", *options)
    assert (result.exit_code, result.stderr) == (2, f"error [unknown_option]: {says}\n")
