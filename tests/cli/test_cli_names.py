"""Names and texts with line breaks, tabs and terminal escapes are printed escaped; JSON has them as they are."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jina_embeddings.cli import app
from jina_embeddings.logs import OneLine, shown

ODD = "a\nb\tc\x1b[31m\u202e"
ESCAPED = r"a\nb\tc\x1b[31m\u202e"
_CONTROL = re.compile(r"[^\n\x20-\x7e\xa0-\u1fff…–]")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments], catch_exceptions=False)


def clean(result: Any) -> str:
    """What was printed, which has no control character."""
    text = str(result.stderr) + str(result.stdout)
    assert not _CONTROL.findall(text)
    return text


def test_texts_are_escaped_where_they_would_move_a_cursor() -> None:
    assert shown(ODD) == ESCAPED
    assert shown("é 👩‍👩‍👧 \xa0 עברית") == "é 👩‍👩‍👧 \xa0 עברית"
    assert shown("\ta\x1b", keep="\t") == "\ta\\x1b"


def test_a_log_line_is_one_line() -> None:
    record = logging.LogRecord("a", logging.WARNING, "", 0, "no %s", (ODD,), None)
    assert OneLine("%(message)s").format(record) == f"no {ESCAPED}"


@pytest.mark.parametrize("suffix", [".txt", ".png"])
def test_embed_lists_a_failed_file_escaped(suffix: str) -> None:
    Path("docs").mkdir()
    (Path("docs") / f"{ODD}{suffix}").write_bytes(b"\xff\x00broken\xff" if suffix == ".png" else b"caf\xe9")
    Path("docs/good.txt").write_text("good")
    result = run("embed", "docs", "-o", f"{ODD}.jsonl", "--engine", "fake")
    assert result.exit_code == 3
    text = clean(result)
    assert f"docs/{ESCAPED}{suffix}" in text
    assert f"in {ESCAPED}.jsonl" in text
    assert run("embed", f"{ODD}.none", "-o", "v.jsonl", "--engine", "fake").exit_code == 2
    clean(run("embed", "docs", "-o", f"{ODD}/v.jsonl", "--engine", "fake"))


def test_a_bulk_run_shows_names_escaped_and_keeps_them() -> None:
    Path("docs").mkdir()
    (Path("docs") / f"{ODD}.txt").write_text("good")
    (Path("docs") / f"{ODD}.bin").write_bytes(bytes(9))
    result = run("embed", "docs", "--into", ODD, "--engine", "fake")
    assert result.exit_code == 0
    assert f"rows in {ESCAPED}" in clean(result)
    assert json.loads(result.stdout)["left_out"][0]["id"] == f"docs/{ODD}.bin"
    clean(run("status", ODD))
    clean(run("status", f"{ODD}{ODD}"))


def test_an_index_and_its_results() -> None:
    Path("docs").mkdir()
    (Path("docs") / f"{ODD}.txt").write_text(f"bread is baked \x1b[2J{ODD}")
    (Path("docs") / f"{ODD}.pdf").write_bytes(b"%PDF-1.4 broken")
    assert ESCAPED in clean(run("index", "docs", "--into", "docs.index", "--engine", "fake"))
    clean(run("index", "info", "docs.index"))
    assert f"{ESCAPED}.txt" in clean(run("search", "docs.index", f"bread {ODD}", "--engine", "fake"))
    found = json.loads(run("search", "docs.index", "bread", "--json", "--engine", "fake").stdout)
    assert found["metadata"]["path"] == f"docs/{ODD}.txt"
    clean(run("search", "docs.index", "bread", ODD, "--engine", "fake"))
    clean(run("index", "remove", "docs.index", f"docs/{ODD}.txt", f"{ODD}.none"))


@pytest.mark.parametrize("arguments", [("index",), ("embed", "--layout", "lance")])
def test_lance_is_given_no_path_that_it_refuses(arguments: tuple[str, ...]) -> None:
    Path("a.txt").write_text("a")
    result = run(*arguments, "a.txt", "--into", f"{ODD}.index", "--engine", "fake")
    assert result.exit_code == 2
    assert clean(result).startswith("error [unknown_option]: Lance can't store anything in ")


def test_pairs_and_groups() -> None:
    Path("rows.jsonl").write_text(2 * (json.dumps({"text": f"one {ODD}", "id": ODD}) + "\n") + '{"text": "other"}\n')
    for command in (("dedup", "rows.jsonl"), ("paraphrases", "rows.jsonl"), ("bitext", "rows.jsonl", "rows.jsonl")):
        result = run(*command, "--engine", "fake")
        assert r"c\x1b[31m\u202e" in result.stdout
        assert not [sign for sign in _CONTROL.findall(result.stdout) if sign != "\t"]  # between columns
        records = map(json.loads, run(*command, "--json", "--engine", "fake").stdout.splitlines())
        assert repr(ODD)[1:-1] in repr(list(records))
    lines = run("similar", ODD, "b", f"c{ODD}", "--engine", "fake").stdout.splitlines()
    assert [line.split("\t")[3] for line in lines] == [ESCAPED, "b", f"c{ESCAPED}"]


def test_code_and_its_place() -> None:
    Path("src").mkdir()
    (Path("src") / f"{ODD}.py").write_text(f"def bake():\n\treturn '{ODD}'\n")
    clean(run("code", "index", "src", "--engine", "fake"))
    result = run("code", "search", "bake", "--index", "src/.jina-embeddings/code", "--engine", "fake")
    assert result.exit_code == 0
    assert f"{ESCAPED}.py:1" in result.stdout
    assert not [sign for sign in _CONTROL.findall(result.stdout) if sign != "\t"]
