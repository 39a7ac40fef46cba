"""Lines that are too long to be held in memory: each is a bad row, and those around it are read."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import pytest

from jina_embeddings.apps.matching.inputs import read_inputs
from jina_embeddings.errors import InputError
from jina_embeddings.pipeline.long_lines import MAX_LINE_BYTES, lines_of
from jina_embeddings.pipeline.plan import Plan, PlanReader
from jina_embeddings.pipeline.readers import Reader, count_lines
from jina_embeddings.pipeline.rows import Failure, Row
from jina_embeddings.pipeline.sources import survey

LONG = b"x" * (MAX_LINE_BYTES + 3 * 2**20)
SAYS = "a line of over 64 MiB: cut it, or give a large image by its path"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    records = b'{"text": "a"}\n{"text": "%s"}\n\n{"text": "b"}\n' % LONG
    (folder / "a.jsonl").write_bytes(records)
    with gzip.open(folder / "b.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(records)
    (folder / "c.txt").write_bytes(b"a\n%s\nb" % LONG)
    (folder / "d.csv").write_bytes(b"text\na\n%s\nb\n" % LONG)
    return folder


def told(item: object) -> str:
    return str(item.input["text"]) if isinstance(item, Row) else str(item.error) if isinstance(item, Failure) else ""


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz", "c.txt"])
def test_rows_of_a_run(folder: Path, name: str) -> None:
    plan = Plan(survey([str(folder / name)], lines=True).sources, 10)
    items = list(PlanReader(plan).read(0, plan.num_rows))
    assert [told(item) for item in items] == ["a", SAYS, "b"]
    assert [told(item) for item in PlanReader(plan).read(2, 3)] == ["b"]


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz"])
def test_rows_of_a_reader(folder: Path, name: str) -> None:
    assert [told(item) for item in Reader().read([str(folder / name)])] == ["a", SAYS, "b"]
    assert count_lines(str(folder / name)) == 3


def test_lines_of_text_matching(folder: Path) -> None:
    assert [told(item) for item in read_inputs([str(folder / "c.txt")], Reader())] == ["a", SAYS, "b"]


def test_a_csv_can_not_be_read_behind_it(folder: Path) -> None:
    assert [told(item) for item in Reader().read([str(folder / "d.csv")])] == ["a", SAYS]
    with pytest.raises(InputError, match=SAYS):
        survey([str(folder / "d.csv")])


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n%s\nb" % LONG)))
    assert [told(item) for item in Reader().read(["-"])] == ["a", SAYS, "b"]


def test_no_more_of_a_line_is_held_than_tells_that_it_is_too_long() -> None:
    (long, num_bytes), (short, _) = lines_of(io.BytesIO(LONG + b"\nb"))
    assert (len(long), num_bytes, short) == (MAX_LINE_BYTES + 1, len(LONG) + 1, b"b")
