"""Paths of an index: relative to where it stands, found again as they are shown, and followed when folders move."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.documents import CutOptions
from jina_embeddings.apps.index import Hit, Index, Passage, Summary
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.errors import OptionError


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("# One\n\nBread.\n\nMore bread.\n")
    (folder / "deep" / "b.txt").write_text("Tea.\n")
    Image.new("RGB", (60, 60), "red").save(folder / "p.png")
    Image.new("RGB", (60, 60), "blue").save(folder / "q.pdf")
    return folder


def update(model: JinaEmbeddings, *paths: Path, **options: Any) -> Summary:
    return index_files(paths, paths[0].parent / "own.index", model, **options)[1]


def paths(model: JinaEmbeddings, folder: Path, **filters: str) -> list[str]:
    return sorted(hit.passage.path for hit in Index.open(folder / "own.index", model).search("x", filters=filters))


def test_paths_are_relative_to_the_folder_of_the_index(docs: Path, fake_model: JinaEmbeddings) -> None:
    update(fake_model, docs)
    index = Index.open(docs.parent / "own.index", fake_model)
    hits = index.search("x")
    assert sorted(hit.passage.source for hit in hits) == [
        "docs/a.md:3-5",
        "docs/deep/b.txt:1",
        "docs/p.png",
        "docs/q.pdf#page=1",
    ]
    for hit in hits:
        # As it is shown, as it is stored, and as the file system has it.
        everywhere = f"*/{Path(hit.passage.path).name}"
        for path in (hit.passage.source, hit.passage.path, str(docs.parent / hit.passage.path), everywhere):
            assert [found.id for found in index.search("x", filters={"path": path})] == [hit.id]
    assert {hit.passage.image for hit in hits} == {"", str(docs / "p.png"), f"{docs / 'q.pdf'}#page=1"}
    assert len(index.search("x", rerank=True)) == 4


def test_what_is_elsewhere_has_its_absolute_path(docs: Path, tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    index, _ = index_files([docs / "a.md"], tmp_path / "of_indexes" / "own.index", fake_model)
    assert [hit.passage.path for hit in index.search("x", filters={"path": str(docs / "a.md")})] == [str(docs / "a.md")]


def test_a_project_that_moves_with_its_index_stays_as_it_is(docs: Path, fake_model: JinaEmbeddings) -> None:
    update(fake_model, docs)
    moved = docs.parent.parent / "elsewhere"
    shutil.move(docs.parent, moved)
    summary = update(fake_model, moved / "docs")
    assert (summary.documents, summary.unchanged, summary.removed) == (0, 4, 0)
    index = Index.open(moved / "own.index", fake_model)
    assert {hit.passage.image for hit in index.search("x", filters={"kind": "image"})} == {
        str(moved / "docs" / "p.png")
    }


def test_a_renamed_folder_keeps_its_vectors_and_leaves_no_twins(docs: Path, fake_model: JinaEmbeddings) -> None:
    update(fake_model, docs)
    renamed = docs.rename(docs.parent / "papers")
    (renamed / "a.md").write_text("# One\n\nCake.\n")
    summary = update(fake_model, renamed)
    assert (summary.documents, summary.removed, summary.embedded) == (4, 4, 1)
    assert paths(fake_model, docs.parent) == ["papers/a.md", "papers/deep/b.txt", "papers/p.png", "papers/q.pdf"]


def test_a_folder_that_is_only_away_is_kept(docs: Path, fake_model: JinaEmbeddings) -> None:
    update(fake_model, docs)
    docs.rename(docs.parent / "away")
    (docs.parent / "other").mkdir()
    (docs.parent / "other" / "c.txt").write_text("Coffee.\n")
    assert update(fake_model, docs.parent / "other").removed == 0
    assert len(paths(fake_model, docs.parent)) == 5


def test_a_copy_is_no_move(docs: Path, fake_model: JinaEmbeddings) -> None:
    update(fake_model, docs)
    shutil.copytree(docs, docs.parent / "copy")
    assert update(fake_model, docs.parent / "copy").removed == 0
    assert len(paths(fake_model, docs.parent)) == 8


def test_given_metadata_is_kept_until_it_is_given_again(docs: Path, fake_model: JinaEmbeddings) -> None:
    def of_team(team: str, **metadata: Any) -> int:
        options = CutOptions(**metadata)
        update(fake_model, docs, options=options)
        return len(paths(fake_model, docs.parent, team=team))

    assert of_team("red", metadata={"team": "red"}) == 4
    assert of_team("red") == 4
    (docs / "a.md").write_text("# One\n\nCake.\n")
    assert of_team("red") == 4
    (docs / "new.md").write_text("New.\n")
    assert of_team("red") == 4
    assert of_team("blue", metadata={"team": "blue"}) == 5
    assert of_team("blue", metadata={}) == 0


def test_patterns_say_which_files_are_wanted(docs: Path, fake_model: JinaEmbeddings) -> None:
    update(fake_model, docs)
    assert update(fake_model, docs, include=["*.md", "deep/"]).removed == 2
    assert paths(fake_model, docs.parent) == ["docs/a.md", "docs/deep/b.txt"]
    update(fake_model, docs, include=["*.md", "*.txt"], exclude=["deep/"])
    assert paths(fake_model, docs.parent) == ["docs/a.md"]
    with pytest.raises(OptionError, match="not patterns"):
        update(fake_model, docs, include=["!"])


def test_an_index_in_an_indexed_folder_is_no_document(docs: Path, fake_model: JinaEmbeddings) -> None:
    other = docs / "other.index"
    index_files([docs / "a.md"], other, fake_model)
    summary = update(fake_model, docs)
    assert (summary.documents, summary.left_out, summary.failures) == (4, [], [])


def test_a_notebook_shows_a_hit_with_its_picture(docs: Path, fake_model: JinaEmbeddings) -> None:
    (docs / "c.txt").write_text("<b>bold</b>")
    update(fake_model, docs)
    hits = Index.open(docs.parent / "own.index", fake_model).search("x")
    shown = {hit.passage.source: hit._repr_html_() for hit in hits}
    assert '<img src="data:image/jpeg;base64,' in shown["docs/p.png"]
    assert '<img src="data:image/jpeg;base64,' in shown["docs/q.pdf#page=1"]
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown["docs/c.txt:1"]
    (docs / "p.png").unlink()
    assert "no such file" in next(hit for hit in hits if hit.passage.path == "docs/p.png")._repr_html_()
    elsewhere = Hit(Passage("a", "image", image="http://127.0.0.1/a.png"), 1.0, 1.0)
    assert "not read here" in elsewhere._repr_html_()
