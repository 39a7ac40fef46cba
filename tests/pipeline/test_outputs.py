"""Where outputs go: never over an input, never in the place of a link or of a device."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jina_embeddings.cli import app
from jina_embeddings.errors import OptionError
from jina_embeddings.pipeline.drafts import Draft, check_target

ROWS = '{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    Path("rows.jsonl").write_text(ROWS, encoding="utf-8")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--engine", "fake"], catch_exceptions=False)


@pytest.mark.parametrize("name", ["rows.jsonl", "./rows.jsonl", "sub/../rows.jsonl", "soft.jsonl", "hard.jsonl"])
@pytest.mark.parametrize("command", [("embed", "--overwrite"), ("dedup",)], ids=lambda command: command[0])
def test_no_command_overwrites_its_input_by_any_name(command: tuple[str, ...], name: str) -> None:
    Path("sub").mkdir()
    Path("soft.jsonl").symlink_to("rows.jsonl")
    Path("hard.jsonl").hardlink_to("rows.jsonl")
    result = run(*command, "rows.jsonl", "-o", name)
    assert result.exit_code == 2
    assert "would overwrite the input 'rows.jsonl'" in result.stderr
    assert Path("rows.jsonl").read_text("utf-8") == ROWS


def test_files_beside_the_output_overwrite_no_input_either() -> None:
    Path("v.npy.rows.jsonl").write_text(ROWS, encoding="utf-8")
    result = run("embed", "v.npy.rows.jsonl", "-o", "v.npy")
    assert result.exit_code == 2
    assert "would overwrite the input" in result.stderr
    assert Path("v.npy.rows.jsonl").read_text("utf-8") == ROWS


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("command", ["embed", "dedup"])
def test_a_link_stays_one_and_its_file_is_written(command: str, exists: bool) -> None:
    Path("elsewhere").mkdir()
    target, link = Path("elsewhere/target.jsonl"), Path("link.jsonl")
    link.symlink_to("elsewhere/target.jsonl")
    if exists:
        target.write_text("before", encoding="utf-8")
    result = run(command, "rows.jsonl", "-o", "link.jsonl", "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert link.is_symlink()
    assert [json.loads(line)["id"] for line in target.read_text("utf-8").splitlines()] == ["a", "b"]
    assert not list(Path().glob(".*.part")) + list(Path("elsewhere").glob(".*.part"))


def test_a_link_into_a_folder_that_is_not_there_is_refused_before_anything_runs() -> None:
    Path("link.jsonl").symlink_to("nowhere/target.jsonl")
    for command in ("embed", "dedup"):
        result = run(command, "rows.jsonl", "-o", "link.jsonl")
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr


def test_what_is_no_plain_file_is_not_replaced() -> None:
    os.mkfifo("pipe.jsonl")
    for command in (("embed", "--overwrite"), ("dedup",)):
        result = run(*command, "rows.jsonl", "-o", "pipe.jsonl")
        assert result.exit_code == 2
        assert "no plain file" in result.stderr
    with pytest.raises(OptionError, match="no plain file"):
        check_target(Path("/dev/null"), [])


def test_a_draft_that_is_dropped_leaves_the_file_behind_a_link() -> None:
    Path("target").write_text("before", encoding="utf-8")
    Path("link").symlink_to("target")
    draft = Draft(Path("link"))
    draft.file.write(b"after")
    draft.discard()
    assert Path("link").is_symlink()
    assert Path("target").read_text("utf-8") == "before"
