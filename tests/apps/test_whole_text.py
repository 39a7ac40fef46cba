"""Text is extracted completely, also from broken HTML and PDF pages, and vectors stay with their rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.documents import cutting
from jina_embeddings.apps.documents.options import CutOptions
from jina_embeddings.apps.index import Passage
from jina_embeddings.apps.matching import Matcher
from jina_embeddings.apps.matching.inputs import open_vectors
from jina_embeddings.errors import InputError
from jina_embeddings.pipeline.columns import matrix_of


def _pdf_texts(monkeypatch: pytest.MonkeyPatch, *pages: str) -> list[str]:
    monkeypatch.setattr(cutting, "num_pdf_pages", lambda path: len(pages))
    monkeypatch.setattr(cutting, "pdf_texts", lambda path: iter(pages))
    found = cutting.passages_of("a.pdf", "a.pdf", "pdf", "d", CutOptions(pdf="text"))
    return [item.text for item in found if isinstance(item, Passage)]


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("photo\x02synthesis", "photosynthesis"),
        ("photo\ufffe\nsynthesis", "photosynthesis"),
        ("well\x02known facts", "well-known facts"),
        ("state-of\x02the-art", "state-of-the-art"),
        ("Jean\x02Paul", "Jean-Paul"),
        ("COVID\x0219", "COVID-19"),
        ("qzxwv\x02kjhgf", "qzxwvkjhgf"),
        ("soft\u00adly", "softly"),
        ("a\x01b", "a b"),
        ("end\x02", "end"),
    ],
)
def test_words_cut_in_a_pdf_are_whole(monkeypatch: pytest.MonkeyPatch, cut: str, whole: str) -> None:
    assert _pdf_texts(monkeypatch, cut) == [whole]


def test_a_document_says_itself_how_it_writes_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _pdf_texts(monkeypatch, "the foo\x02bar", "A foo-bar.") == ["the foo-bar", "A foo-bar."]
    assert _pdf_texts(monkeypatch, "well\x02known", "Wellknown.") == ["wellknown", "Wellknown."]


def test_words_cut_in_a_real_pdf_are_whole() -> None:
    path = str(Path(__file__).parent / "hyphens.pdf")
    found = cutting.passages_of(path, "a.pdf", "pdf", "d", CutOptions(pdf="text"))
    (text,) = [item.text for item in found if isinstance(item, Passage)]
    assert text == "This is important information about photosynthesis and well-known facts."


def test_rows_without_a_vector_are_failures_and_the_others_keep_theirs(tmp_path: Path) -> None:
    rows = [[1.0, 0.0], None, [0.0, 1.0], [None, 1.0], [float("nan"), 1.0], [1.0, 0.5]]
    column = pa.array(rows, pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"id": list("abcdef"), "embedding": column}), tmp_path / "v.parquet", row_group_size=2)
    names, vectors, failures = open_vectors(tmp_path / "v.parquet")
    assert (names, vectors.tolist()) == (["a", "c", "f"], [[1, 0], [0, 1], [1, 0.5]])
    assert [failure.id for failure in failures] == ["b", "d", "e"]
    np.save(tmp_path / "v.npy", np.array([[1, 0], [np.inf, 0], [0, 1]], dtype=np.float32))
    names, vectors, failures = open_vectors(tmp_path / "v.npy")
    assert (names, vectors.tolist(), [failure.id for failure in failures]) == ([0, 2], [[1, 0], [0, 1]], ["1"])


def test_a_column_keeps_vectors_at_their_rows() -> None:
    column = pa.chunked_array([pa.array([[1.0], None, [2.0]], pa.list_(pa.float32(), 1)).slice(1), [[3.0]]])
    assert str(matrix_of(column).tolist()) == "[[nan], [2.0], [3.0]]"


def test_a_single_text_in_place_of_a_list_is_refused() -> None:
    with JinaEmbeddings("fake", engine="fake") as model, pytest.raises(InputError, match="list"):
        Matcher(model).vectors("hello")
