"""Defaults from the environment and from a file: which comes first, and what is no option."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jina_embeddings.cli import app, embed_run, settings
from jina_embeddings.cli.model import ModelChoice
from jina_embeddings.pipeline.to_file import FileRun

Embedded = list[tuple[FileRun, ModelChoice]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    del os.environ["JINA_EMBEDDINGS_CONFIG"]
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path / "settings")
    Path("a.txt").write_text("some words")


def write(text: str, path: Path | None = None) -> None:
    path = path or settings.default_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> Embedded:
    """Replaces what `embed` runs, and returns the runs that it was asked for."""
    runs: Embedded = []

    def note(run: FileRun, paths: object, choice: ModelChoice, on_error: str) -> int:
        runs.append((run, choice))
        return 0

    monkeypatch.setattr(embed_run, "embed_to_file", note)
    return runs


def choice(embedded: Embedded, *arguments: str) -> ModelChoice:
    result = run(*arguments, "embed", "a.txt", "-o", "v.npy")
    assert result.exit_code == 0, result.stderr
    return embedded[-1][1]


def test_the_file_gives_defaults_to_all_commands_and_to_one(embedded: Embedded) -> None:
    write(
        'model = "pocket"\nengine = "torch"\noption = ["max_model_len=512"]\n[embed]\ntask = "code"\noverwrite = true\n'
    )
    chosen = choice(embedded)
    assert (chosen.model, chosen.engine, chosen.options) == ("pocket", "torch", {"max_model_len": 512})
    assert (embedded[-1][0].form.task, embedded[-1][0].overwrite) == ("code", True)


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(embedded: Embedded) -> None:
    write('model = "of-the-file"\nengine = "torch"\n')
    os.environ["JINA_EMBEDDINGS_MODEL"] = "of-the-environment"
    assert (choice(embedded).model, choice(embedded).engine) == ("of-the-environment", "torch")
    result = run("embed", "a.txt", "-o", "v.npy", "--model", "given", "--engine", "fake")
    assert result.exit_code == 0
    assert (embedded[-1][1].model, embedded[-1][1].engine) == ("given", "fake")


def test_a_file_that_is_named_is_read_instead(embedded: Embedded) -> None:
    write('model = "of-the-users-file"\n')
    write('model = "of-the-named-file"\n', Path("mine.toml"))
    assert choice(embedded, "--config", "mine.toml").model == "of-the-named-file"
    del os.environ["JINA_EMBEDDINGS_MODEL"]
    os.environ["JINA_EMBEDDINGS_CONFIG"] = "mine.toml"
    assert choice(embedded).model == "of-the-named-file"


def test_an_index_keeps_the_model_that_made_it() -> None:
    assert run("index", "a.txt", "--into", "i", "--engine", "fake", "--model", "fake").exit_code == 0
    write('model = "another"\nengine = "fake"\n[search]\nlimit = 1\njson = true\n')
    found = run("search", "i", "words")
    assert found.exit_code == 0, found.stderr
    assert found.stdout.startswith("{")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "can't be read"),
        ('engnie = "torch"', "unknown 'engnie'; did you mean 'engine'?"),
        ("[embde]\n", "unknown 'embde'; did you mean 'embed'?"),
        ("[search]\nlimitt = 3\n", "unknown 'limitt'; did you mean 'limit'?"),
        ("[code.serach]\n", "unknown 'serach'; did you mean 'search'?"),
        ('search = "x"\n', "unknown 'search'"),
        ('[code]\nsearch = "x"\n', "search is a command: write a table [search]"),
        ('[search]\nlimit = "many"\n', "Invalid value for '--limit'"),
    ],
)
def test_what_is_no_option_is_an_error(text: str, message: str) -> None:
    write(text)
    result = run("search", "i", "words")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_named_file_has_to_be_there() -> None:
    result = run("--config", "none.toml", "doctor")
    assert result.exit_code == 2
    assert result.stderr.startswith("error [unknown_option]: none.toml can't be read")


def test_a_command_that_may_have_an_index_takes_the_environments_model_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`serve` has no default of its own for --model, since an index names its model."""
    monkeypatch.setenv("JINA_EMBEDDINGS_MODEL", "pocket")
    with ModelChoice(None, "torch", {}, {}, debug=False).loaded() as model:
        assert model.info.name == "pocket"
