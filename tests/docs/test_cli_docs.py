"""docs/command_line.md lists the existing options, and its examples run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from generate_docs import commands
from jina_embeddings.cli import app
from jina_embeddings.cli.doctor import parity

DOCUMENT = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")


COMMANDS = commands()
WITH_OPTIONS_OF_THEIR_OWN = ("doctor", "status", "index info", "index remove", "index export")
CODE_COMMANDS = [command for command in COMMANDS if command.startswith("code ")]


def section(command: str) -> str:
    return DOCUMENT.partition(f"\n## {command}\n")[2].partition("\n## ")[0]


def blocks(language: str, text: str = DOCUMENT) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def examples(command: str) -> list[str]:
    lines = [line for block in blocks("console", section(command)) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the examples use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    files = {
        "notes/one.md": "# One\n",
        "notes/two.md": "# Two\n",
        "rows.jsonl": '{"text": "a row"}\n{"image": "photos/red.png"}\n',
        "table.csv": "title,year\nA book,1999\n",
        "questions.txt": "Why?\nHow?\n",
        "src/main.py": "import datetime\n\n\ndef day(text):\n    return datetime.date.fromisoformat(text)\n",
        "pairs.tsv": "A cat.\tUn chat.\n",
        "english.txt": "A cat.\nA dog.\n",
        "french.txt": "Un chien.\nUn chat.\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "photos").mkdir()
    image = Image.new("RGB", (60, 60), "red")
    image.save("photos/red.png")
    image.save("paper.pdf")
    return tmp_path


def run(line: str, *more: str, model: str = "") -> tuple[list[str], Any]:
    """Runs an example, with patterns and `<` as in a shell; returns its arguments and the result."""
    line, _, stdin = line.partition(" < ")
    program, *words = shlex.split(line)
    assert program == "jina-embeddings"
    arguments: list[str] = []
    for word in words:
        pattern = "*" in word and f'"{word}"' not in line
        arguments += sorted(map(str, Path().glob(word))) if pattern else [word]
    arguments = [model if model and word.startswith("jinaai/") else word for word in arguments]
    content = Path(stdin).read_text() if stdin else None
    return arguments, CliRunner().invoke(app, [*arguments, *more], input=content, catch_exceptions=False)


def test_every_command_has_its_section() -> None:
    documented = re.findall(r"^## (.*)$", DOCUMENT, re.MULTILINE)
    assert sorted(documented) == sorted(COMMANDS)
    links = re.findall(r"^\| \[`([\w ]+)`\]\(#([\w-]+)\)", DOCUMENT, re.MULTILINE)
    assert links == [(command, command.replace(" ", "-")) for command in documented]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    assert [parameter.name for parameter in COMMANDS[command].params if not parameter.help] == []


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("line", examples("embed"))
def test_embed_examples_run(line: str) -> None:
    arguments, result = run(line, "--engine", "fake")
    assert result.exit_code == 0, result.stderr
    assert Path(arguments[arguments.index("--output") + 1]).stat().st_size > 0


@pytest.mark.long
@pytest.mark.usefixtures("folder")
def test_examples_of_the_applications_run() -> None:
    np.save("vectors.npy", np.eye(3, dtype=np.float32))
    for command in (
        "index",
        "index info",
        "index remove",
        "index export",
        "search",
        "similar",
        "dedup",
        "paraphrases",
        "bitext",
        *CODE_COMMANDS,
    ):
        lines = examples(command)
        assert lines
        if command == "code index":
            shutil.rmtree("notes.index")
        for line in lines:
            own = line.removeprefix("jina-embeddings ").startswith(WITH_OPTIONS_OF_THEIR_OWN)
            engine = [] if own else ["--engine", "fake"]
            _, result = run(line, *engine)
            assert result.exit_code == 0, (line, result.stdout, result.stderr)


@pytest.mark.long
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("line", examples("doctor"))
def test_doctor_examples_run(line: str, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "_TEXTS", ("a text",))
    run("jina-embeddings index notes/ --into notes.index --engine fake")
    _, result = run(line, model=str(checkpoint(dtype="float32")))
    assert result.exit_code == 0, result.stdout


@pytest.mark.usefixtures("folder")
def test_the_python_example_reads_what_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = [line for line in examples("embed") if line.endswith(" vectors.parquet")]
    run(line, "--engine", "fake")
    (code,) = blocks("python")
    exec(code, {})
    assert capsys.readouterr().out == "notes/one.md (5, 2048) b'retrieval'\n"


def test_there_are_examples() -> None:
    assert len(examples("embed")) >= 5
    assert len(examples("doctor")) >= 3


def test_metadata_keys_of_vectors_are_documented(folder: Path) -> None:
    run("jina-embeddings embed notes/ --output v.jsonl --max-length 9 --option normalize=true --engine fake")
    listed = re.search(r"What made them: (.*)\.", DOCUMENT)
    assert listed is not None
    documented = set(re.findall(r"`(\w+)`", listed[1]))
    # The fake model has no revision.
    assert set(json.loads((folder / "v.jsonl.meta.json").read_text())) == documented - {"revision"}
