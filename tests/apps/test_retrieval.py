"""`index_files`, and the context for a language model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Hit, Index, Passage
from jina_embeddings.apps.index.store import Store
from jina_embeddings.apps.retrieval import context, index_files


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "bread.md").write_text("# Bread\n\nFlour and water.\n\n## Sourdough\n\nFeed the starter.\n")
    (folder / "tea.txt").write_text("Tea needs hot water.")
    (folder / "net.html").write_text("<h1>Sockets</h1><p>They connect <b>two</b> computers.")
    Image.new("RGB", (60, 60), "green").save(folder / "meadow.png")
    return folder


def sources(index: Index) -> list[str]:
    return sorted(Path(passage.source).name for passage in index.store.passages())


def test_files_are_indexed_and_kept_in_step(docs: Path, tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    into = docs / "index"
    index, summary = index_files([docs], into, fake_model, dimension=128)
    assert sources(index) == ["bread.md:3", "bread.md:7", "meadow.png", "net.html:1", "tea.txt:1"]
    assert (summary.documents, summary.embedded, summary.failures) == (4, 5, [])
    (docs / "tea.txt").unlink()
    (docs / "bread.md").write_text("# Bread\n\nFlour and water.\n\n## Rye\n\nFeed the starter.\n")
    (docs / "more").mkdir()
    shutil.copy(docs / "net.html", docs / "more" / "copy.html")
    index, summary = index_files([docs], into, fake_model)
    assert (summary.unchanged, summary.removed) == (2, 1)
    assert (summary.embedded, summary.reused) == (1, 2), "a heading is embedded with its text; a copy is not again"
    assert {hit.passage.title for hit in index.search("Rye", limit=1)} == {"Bread > Rye"}


def test_the_same_picture_is_found_by_itself(docs: Path, tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    Image.new("RGB", (60, 60), "red").save(docs / "poppy.png")
    index, _ = index_files([docs], tmp_path / "index", fake_model, dimension=128)
    for query in (docs / "poppy.png", (docs / "poppy.png").read_bytes(), Image.open(docs / "poppy.png")):
        (hit,) = index.search(query, limit=1, filters={"kind": "image"})
        assert Path(hit.passage.image).name == "poppy.png"


def test_a_deleted_image_ranks_last_in_reranking(docs: Path, fake_model: JinaEmbeddings) -> None:
    index, _ = index_files([docs], docs / "index", fake_model, dimension=128)
    (docs / "meadow.png").unlink()
    hits = index.search("water", rerank=True)
    assert (Path(hits[-1].passage.source).name, hits[-1].score) == ("meadow.png", 0.0)
    assert len(hits) == 5


@pytest.mark.parametrize("left", ["nothing", "_transactions", "_versions"])
def test_a_table_whose_creation_was_killed_is_created_again(
    tmp_path: Path, fake_model: JinaEmbeddings, left: str
) -> None:
    """A table is complete when its manifest is written, which is the last step."""
    index = Index.open(tmp_path / "index", fake_model, create=True, dimension=128)
    table = tmp_path / "index" / "passages.lance"
    for part in table.iterdir():
        shutil.rmtree(part)
    if left != "nothing":
        (table / left).mkdir()
    assert not Store.exists(index.store.address)
    assert len(Index.open(tmp_path / "index", fake_model, create=True, dimension=128)) == 0


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def hit(path: str, text: str, kind: str = "text") -> Hit:
    return Hit(Passage(path, kind, text, line=1, end_line=2, title="T", content=path), 1.0, 1.0)  # type: ignore[arg-type]


def test_a_context_has_sources_and_fits() -> None:
    hits = [hit("a", "one two three"), hit("b", "long " * 50), hit("p", "", "page"), hit("c", "four")]
    assert context(hits, 10, words) == "[1] a:1-2 (T)\none two three\n\n[2] c:1-2 (T)\nfour"
    for limit in range(1, 80):
        assert words([context(hits, limit, words)])[0] <= limit


def test_a_first_passage_that_is_too_long_is_cut() -> None:
    assert context([hit("b", "long " * 50)], 6, words) == "[1] b:1-2 (T)\nlong long long"
    assert context([hit("p", "", "page")], 6, words) == ""
