"""Records and lines that are not what they should be: a failure that names the line, and the rest done."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from jina_embeddings.pipeline.readers import Reader
from jina_embeddings.pipeline.rows import Failure, Item, Row


def _read(path: Path, text: str) -> list[Item]:
    path.write_text(text)
    return list(Reader().read([str(path)]))


def test_an_unclosed_quote_fails_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = _read(path, 'id,text\n1,one\n2,"two\n3,three\n')
    assert [type(row) for row in rows] == [Row, Failure]
    assert rows[1].id == f"{path}:3"


def test_cells_beyond_the_header_fail_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = _read(path, "id,text\n1,one, and more\n2,two\n")
    assert [type(row) for row in rows] == [Failure, Row]
    assert rows[0].id == f"{path}:2"


def test_two_columns_of_one_name_fail(tmp_path: Path) -> None:
    (failure,) = _read(tmp_path / "a.csv", "text,text\none,two\n")
    assert isinstance(failure, Failure)
    assert "line 1" in str(failure.error)
    assert "(text)" in str(failure.error)


def test_a_number_where_text_belongs_fails_alone(tmp_path: Path) -> None:
    rows = _read(tmp_path / "a.jsonl", '{"text": 5}\n{"text": "five"}\n')
    assert [type(row) for row in rows] == [Failure, Row]


def test_a_byte_order_mark_on_standard_input_is_not_part_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\xef\xbb\xbfone\ntwo\n")))
    rows = list(Reader().read(["-"]))
    assert [row.input["text"] for row in rows if isinstance(row, Row)] == ["one", "two"]
