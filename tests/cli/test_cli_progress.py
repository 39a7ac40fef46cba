"""What is seen of a run where nobody watches a terminal: lines with count, rate and time left."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jina_embeddings.apps.matching import neighbours
from jina_embeddings.cli import app, progress
from jina_embeddings.cli.progress import Progress
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.vectors.similarity import normalize

NUM_LINES = 400


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(progress, "LINE_S", 0.05)
    Path("lines.txt").write_text("".join(f"line number {number}\n" for number in range(NUM_LINES)))
    Path("rows.jsonl").write_text("".join(f'{{"text": "row {number}"}}\n' for number in range(NUM_LINES)))
    Path("notes").mkdir()
    for number in range(100):
        Path(f"notes/{number}.md").write_text(f"# Note {number}\n\nIts text, {number}.\n\n## More\n\nAnd {number}.\n")
    Path("source").mkdir()
    for number in range(100):
        Path(f"source/f{number}.py").write_text(f"def f{number}(x):\n    return x + {number}\n")

    run = FakeEngine.run

    def slow(self: FakeEngine, batch: Sequence[Any], **options: Any) -> Any:
        time.sleep(0.1)
        return run(self, batch, **options)

    monkeypatch.setattr(FakeEngine, "run", slow)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("embed", "rows.jsonl", "-o", "v.jsonl"), rf"of {NUM_LINES} rows, [\d,.]+ rows/s, \d+ s left"),
        (("dedup", "lines.txt"), rf"of {NUM_LINES} inputs, [\d,.]+ inputs/s, \d+ s left"),
        (("paraphrases", "lines.txt"), rf"of {NUM_LINES} inputs, [\d,.]+ inputs/s, \d+ s left"),
        (("bitext", "lines.txt", "lines.txt"), rf"of {2 * NUM_LINES} inputs, [\d,.]+ inputs/s, \d+ s left"),
        (("index", "notes", "--into", "i"), r"passages, \d+ of 100 files, [\d,.]+ passages/s"),
        (("code", "index", "source", "--index", "i"), r"pieces, \d+ of 100 files, [\d,.]+ pieces/s"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_lines_come_while_a_command_runs(command: tuple[str, ...], shown: str) -> None:
    result = CliRunner().invoke(app, [*command, "--engine", "fake"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if re.search(shown, line)], result.stderr


@pytest.mark.parametrize(
    "command", [["dedup", "lines.txt"], ["paraphrases", "lines.txt"], ["bitext", "lines.txt", "lines.txt"]]
)
def test_lines_come_while_rows_are_compared(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(vectors: Any) -> Any:
        time.sleep(0.2)
        return normalize(vectors)

    monkeypatch.setattr(neighbours, "normalize", slow)
    result = CliRunner().invoke(app, [*command, "--engine", "fake"], catch_exceptions=False)
    num_rows = NUM_LINES * (len(command) - 1)
    assert re.search(rf"^\d+ of {num_rows} rows compared", result.stderr, re.MULTILINE), result.stderr


def test_a_line_says_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = Progress([2000, 3000])
    assert shown.line() == "0 rows"
    shown.advance(0)
    shown._count()
    now += 10
    shown.advance(1000)
    assert shown.line() == "1,000 of 5,000 rows, 100.0 rows/s, 40 s left"
    shown = Progress([None], "inputs")
    shown.advance()
    shown._count()
    now += 2
    assert shown.line() == "1 inputs, 0.5 inputs/s"
    shown = Progress([10**6])
    shown.advance(10)
    shown._count()
    now += 1
    assert shown.line().endswith("27 h 47 min left")


def test_sources_are_counted_as_they_are_asked_for() -> None:
    shown = Progress([1, 1, 1, 1], "passages", sources="files")
    shown._count()
    read: Iterator[str] = shown.reading(iter("abcd"))
    assert next(read) == "a"
    shown.advance(3)
    assert shown.line().startswith("3 passages, 1 of 4 files, ")
    assert shown.line().endswith(" left")
    assert list(read) == ["b", "c", "d"]
    assert "left" not in shown.line()


def test_its_threads_end_with_it() -> None:
    with Progress([1]):
        pass
    deadline = time.monotonic() + 5
    while any(thread.name == "jina-embeddings-progress" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
