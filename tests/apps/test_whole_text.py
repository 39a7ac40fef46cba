"""Text comes out whole, of pages that are broken too, and vectors belong to their rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.documents import cutting
from jina_embeddings.apps.documents.html import html_sections
from jina_embeddings.apps.documents.options import CutOptions
from jina_embeddings.apps.index import Passage
from jina_embeddings.apps.matching import Matcher
from jina_embeddings.apps.matching.inputs import open_vectors
from jina_embeddings.errors import InputError


def _text(page: str) -> str:
    return " ".join(block.text for section in html_sections(page) for block in section.blocks)


def test_a_head_that_is_never_closed_ends_where_the_page_begins() -> None:
    assert _text("<html><head><title>T</title><body><p>Hello</p></body></html>") == "Hello"


def test_a_nav_that_is_never_closed_swallows_nothing() -> None:
    assert "Hello" in _text("<body><nav><a href=x>Home</a><p>Hello</p></body>")
    assert _text("<body><nav>Home</nav><p>Hello</p></body>") == "Hello"


def test_a_template_is_left_out() -> None:
    assert _text("<body><template><p>No</p></template><p>Yes</p></body>") == "Yes"


def test_words_cut_in_a_pdf_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "num_pdf_pages", lambda path: 1)
    monkeypatch.setattr(cutting, "pdf_texts", lambda path: iter(["photo\x02synthesis\x01 is"]))
    found = list(cutting.passages_of("a.pdf", "a.pdf", "pdf", "d", CutOptions(pdf="text")))
    assert [item.text for item in found if isinstance(item, Passage)] == ["photosynthesis  is"]


def test_null_vectors_are_named(tmp_path: Path) -> None:
    column = pa.array([[1.0, 0.0], None, [0.0, 1.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"id": ["a", "b", "c"], "embedding": column}), tmp_path / "v.parquet")
    with pytest.raises(InputError, match=r"1 rows \(b\)"):
        open_vectors(tmp_path / "v.parquet")


def test_one_text_is_no_list() -> None:
    with JinaEmbeddings("fake", engine="fake") as model, pytest.raises(InputError, match="list"):
        Matcher(model).vectors("hello")
