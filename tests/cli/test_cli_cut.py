"""Texts that are too long: every command that sums up says how many were cut, and which."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jina_embeddings.cli import app

LONG, SHORT = "word " * 60, "a short text"
SHORTENED = ["--engine", "fake", "--option", "max_model_len=30"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    Path("long.txt").write_text(LONG)
    Path("short.txt").write_text(SHORT)
    Path("both.txt").write_text(f"{LONG}\n{SHORT}\n{LONG} too\n")
    Path("both.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in (LONG, SHORT, LONG + "too")))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, *SHORTENED], catch_exceptions=False)


@pytest.mark.parametrize("more", [(), ("--max-length", "10")])
def test_embed_names_the_texts_that_were_cut(more: tuple[str, ...]) -> None:
    result = run("embed", "long.txt", "short.txt", "both.jsonl", "-o", "v.jsonl", *more)
    assert result.exit_code == 0
    head, *named = result.stderr.partition("3 texts were too long and were cut")[2].splitlines()
    assert "what comes after is not in the vectors" in head
    assert [line.strip() for line in named[:3]] == ["long.txt", "both.jsonl:1", "both.jsonl:3"]


def test_embed_says_nothing_where_nothing_was_cut() -> None:
    assert "cut" not in run("embed", "short.txt", "-o", "v.jsonl").stderr


def test_a_long_list_of_cut_texts_is_shortened() -> None:
    Path("many.jsonl").write_text("".join(json.dumps({"text": f"{LONG} {number}"}) + "\n" for number in range(50)))
    result = run("embed", "many.jsonl", "-o", "v.jsonl")
    assert "50 texts were too long" in result.stderr
    assert "  many.jsonl:20\n  and 30 more\n" in result.stderr


@pytest.mark.long
def test_a_run_in_shards_counts_them_in_its_summary_and_status() -> None:
    result = run("embed", "both.txt", "--lines", "--into", "run", "--shard-rows", "2")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["cut"] == 2
    assert "2 too long and cut" in result.stderr
    status = CliRunner().invoke(app, ["status", "run", "--json"])
    assert json.loads(status.stdout)["cut"] == 2


def test_index_names_the_passages() -> None:
    result = run("index", "long.txt", "short.txt", "--into", "i", "--dimension", "128")
    assert result.exit_code == 0
    named = result.stderr.partition("1 text was too long")[2].splitlines()[1]
    assert named.strip().endswith("long.txt:1")


@pytest.mark.parametrize(
    "command", [("dedup", "both.txt"), ("paraphrases", "both.txt"), ("bitext", "both.txt", "both.txt")]
)
def test_commands_of_text_matching_name_the_lines(command: tuple[str, ...]) -> None:
    result = run(*command)
    assert result.exit_code == 0
    number = 4 if command[0] == "bitext" else 2
    assert f"{number} texts were too long" in result.stderr
    assert "  both.txt:1\n  both.txt:3\n" in result.stderr
