"""When files of an index are merged: a small update of a large index must not write the whole index again."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Document, Index, Passage, merging, store


def documents(start: int, stop: int) -> list[Document]:
    def document(number: int) -> Document:
        text = f"note number{number} of many"
        return Document(f"d{number}", text, lambda: [Passage(f"d{number}", "text", text)])

    return [document(number) for number in range(start, stop)]


@pytest.fixture
def index(tmp_path: Path, fake_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index that counts as a large one; 200 passages in one file."""
    made = Index.open(tmp_path / "index", fake_model, create=True, dimension=128, multivector="float16")
    made.update(documents(0, 200))
    monkeypatch.setattr(merging, "_SMALL_BYTES", 0)
    return made


def data_files(index: Index) -> set[str]:
    return set(os.listdir(Path(index.store.address) / "passages.lance" / "data"))


def test_a_small_update_of_a_large_index_adds_a_file(index: Index) -> None:
    before = data_files(index)
    index.update(documents(200, 203))
    assert len(data_files(index) - before) == 1
    assert merging._num_unindexed(index.store._table) == 3
    # What has no index yet is found by vectors, by words and by their endings.
    for mode in ("dense", "words", "hybrid"):
        assert index.search("note number202 of many", mode=mode, limit=1)[0].passage.path == "d202"
    assert len(index.search("notes", mode="words", limit=300)) == 203


def test_updates_of_more_than_a_fiftieth_are_merged(index: Index) -> None:
    for number in range(200, 205):
        index.update(documents(number, number + 1))
    assert merging._num_unindexed(index.store._table) == 0
    assert len(index) == 205


def test_many_files_are_merged(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_MAX_UNINDEXED_SHARE", 1.0)
    monkeypatch.setattr(merging, "_MAX_FILES", 3)
    num_files = []
    for number in range(200, 204):
        index.update(documents(number, number + 1))
        num_files.append(index.store._table.stats()["fragment_stats"]["num_fragments"])
    assert num_files[:2] == [2, 3]
    assert num_files[2] < 4


def test_the_next_update_removes_what_a_merge_has_replaced(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.update(documents(200, 400))
    index.update(documents(400, 700))
    while not merging.is_merged(index.store._table):
        index.store._table.optimize()
    assert len(data_files(index)) > 1
    monkeypatch.setattr(store, "_KEEP_VERSIONS", timedelta(milliseconds=1))
    index.update(documents(700, 701))
    assert len(data_files(index)) == 2
    assert len(index) == 701
