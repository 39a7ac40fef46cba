"""The index of passages: what it stores, what it embeds again, and what it refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Document, Index, Passage, recall, words
from jina_embeddings.apps.index.filters import to_sql
from jina_embeddings.apps.index.lock import written_by_us
from jina_embeddings.apps.index.rows import FINGERPRINT_KEY
from jina_embeddings.errors import (
    IndexBusyError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    OptionError,
    UnknownTaskError,
)
from jina_embeddings.pipeline.rows import Failure, LeftOut
from make_checkpoint import make_checkpoint

DIM = 256


def document(path: str, *texts: str, **metadata: str) -> Document:
    def read() -> Iterator[Passage]:
        for number, text in enumerate(texts):
            yield Passage(path, "text", text, number, number + 1, title="A title", metadata=metadata)

    return Document(path, "|".join([*texts, str(metadata)]), read)


@pytest.fixture
def index(tmp_path: Path, fake_model: JinaEmbeddings) -> Index:
    return Index.open(tmp_path / "index", fake_model, create=True, dimension=DIM)


def texts(index: Index) -> list[str]:
    return sorted(passage.text for passage in index.store.passages())


def test_passages_come_back_as_they_were(index: Index) -> None:
    given = Passage(
        "it's.md", "text", "naïve 'text' 漢字", 3, 9, 2, 4, "A > B", metadata={"language": "en", "x": "a=b"}
    )
    index.update([Document("it's.md", "1", lambda: [given])])
    assert index.store.passages() == [given]
    assert index.search("naïve")[0].passage == given


def test_scores_are_cosines_and_the_best_comes_first(index: Index, fake_model: JinaEmbeddings) -> None:
    index.update([document("a", "red apple", "green pear"), document("b", "a cat")])
    hits = index.search("green pear", mode="dense")
    assert hits[0].passage.text == "green pear"
    assert sorted((hit.score for hit in hits), reverse=True) == [hit.score for hit in hits]
    query = fake_model.encode_text("green pear", truncate_dim=DIM)
    for hit in hits:
        vector = fake_model.encode_text(hit.passage.embedded_text, prompt_name="passage", truncate_dim=DIM)
        assert hit.score == pytest.approx(float(query @ vector), abs=1e-5)


def test_only_what_changed_is_embedded(index: Index) -> None:
    index.update([document("a", "one", "two"), document("b", "three")])
    again = index.update([document("a", "one", "two"), document("b", "three")])
    assert (again.unchanged, again.embedded, again.documents) == (2, 0, 0)
    changed = index.update([document("a", "zero", "one", "two"), document("b", "three")])
    assert (changed.unchanged, changed.embedded, changed.reused) == (1, 1, 2)
    assert texts(index) == ["one", "three", "two", "zero"]


def test_a_document_that_shrinks_leaves_nothing_behind(index: Index) -> None:
    index.update([document("a", "one", "two", "three")])
    index.update([document("a", "three")])
    assert texts(index) == ["three"]
    index.update([document("a")])
    assert texts(index) == []


def test_a_document_that_has_moved_is_not_embedded_again(index: Index) -> None:
    index.update([document("old", "one", "two")])
    moved = index.update([document("new", "one", "two")], gone=lambda path: path == "old")
    assert (moved.embedded, moved.reused, moved.removed) == (0, 2, 1)
    assert {passage.path for passage in index.store.passages()} == {"new"}


def test_two_documents_that_change_places(index: Index) -> None:
    """Each document's state equals the other's earlier state; no passage of the old content may stay."""
    index.update([document("a", "one", "two"), document("b", "three")])
    index.update([document("a", "three"), document("b", "one", "two")])
    assert sorted((p.path, p.text) for p in index.store.passages()) == [("a", "three"), ("b", "one"), ("b", "two")]


def test_documents_are_removed_only_if_asked(index: Index) -> None:
    index.update([document("a", "one")])
    assert index.update([document("b", "two")]).removed == 0
    assert texts(index) == ["one", "two"]


def test_failures_and_skipped_documents_are_reported_and_keep_their_passages(index: Index) -> None:
    index.update([document("a", "one")])
    failure, left_out = Failure("a", InputError("unreadable today")), LeftOut("c", "empty")
    summary = index.update([failure, left_out, document("b", "two")], gone=lambda path: True)
    assert (summary.failures, summary.left_out, summary.removed) == ([failure], [left_out], 0)
    assert texts(index) == ["one", "two"]


def test_a_document_that_vanishes_while_it_is_read_is_a_failure(index: Index) -> None:
    def read() -> Iterator[Passage]:
        yield Passage("a", "text", "begun")
        raise FileNotFoundError(2, "No such file or directory")

    summary = index.update([Document("a", "1", read), document("b", "two")])
    assert [failure.id for failure in summary.failures] == ["a"]
    assert texts(index) == ["two"]


def test_a_passage_that_cannot_be_embedded_is_tried_again_the_others_are_not(index: Index, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"no picture")

    def read() -> list[Passage]:
        return [Passage("a", "text", "words"), Passage("a", "image", image=str(picture), content="1")]

    for embedded, reused in ((1, 0), (0, 1)):
        summary = index.update([Document("a", "1", read)])
        assert [failure.id for failure in summary.failures] == ["a"]
        assert (summary.embedded, summary.reused) == (embedded, reused)
    assert texts(index) == ["words"]


def test_filters(index: Index) -> None:
    index.update([document("en/a_b", "one", language="en"), document("de/aXb", "two", language="de", q="it's")])
    filters: dict[str, dict[str, Any]] = {
        "metadata": {"language": "en"},
        "either": {"language": ["en", "de"]},
        "both": {"language": "de", "path": "en/*"},
        "pattern": {"path": "*a_b"},
        "quote": {"q": "it's"},
        "kind": {"kind": "image"},
        "title": {"title": "A ti*"},
    }
    found = {
        key: sorted(hit.passage.text for hit in index.search("one", filters=chosen)) for key, chosen in filters.items()
    }
    assert found == {
        "metadata": ["one"],
        "either": ["one", "two"],
        "both": [],
        "pattern": ["one"],
        "quote": ["two"],
        "kind": [],
        "title": ["one", "two"],
    }


@pytest.mark.parametrize("filters", [{"kind": "pages"}, {"": "x"}, {"a": []}, {"a": 1}])
def test_wrong_filters_are_refused(filters: dict[str, str]) -> None:
    with pytest.raises(OptionError):
        to_sql(filters)


@pytest.mark.parametrize("metadata", [{"a=b": "c"}, {"": "c"}, {"a": 1}])
def test_metadata_that_cannot_be_stored_is_refused(index: Index, metadata: dict[str, str]) -> None:
    with pytest.raises(InputError, match="a string or several"):
        index.update([Document("a", "1", lambda: [Passage("a", "text", "x", metadata=metadata)])])


def test_reranking_is_maxsim_of_multivectors(index: Index, fake_model: JinaEmbeddings) -> None:
    index.update([document("a", "red apple", "green pear", "blue sky")])
    hits = index.search("green apple", rerank=True)
    query = fake_model.encode_text("green apple", return_multivector=True)
    for hit in hits:
        tokens = fake_model.encode_text(hit.passage.embedded_text, prompt_name="passage", return_multivector=True)
        assert hit.score == pytest.approx(float(fake_model.maxsim(query, tokens)), abs=1e-4)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert {hit.passage.text for hit in hits[:2]} == {"red apple", "green pear"}


def test_the_retriever_gives_plain_types(index: Index) -> None:
    index.update([document("a", "red apple", "green pear", language="en")])
    (found,) = index.retriever(limit=1, filters={"language": "en"})("green pear")
    assert found == {
        "id": index.search("green pear", limit=1)[0].id,
        "line": 0,
        "end_line": 0,
        "text": "green pear",
        "source": "a",
        "title": "A title",
        "score": pytest.approx(1.0),
        "cosine": pytest.approx(index.search("green pear", limit=1, mode="dense")[0].score),
        "metadata": {"language": "en", "path": "a", "kind": "text"},
    }


def test_a_missing_index_is_an_error(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    with pytest.raises(IndexNotFoundError, match="there is no index at"):
        Index.open(tmp_path / "nothing", fake_model)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"task": "code"}, "task retrieval, not code"),
        ({"dimension": 128}, "dimension 256, not 128"),
        ({"kind": "code"}, "kind files, not code"),
    ],
)
def test_another_task_dimension_or_kind_is_refused(
    index: Index, fake_model: JinaEmbeddings, asked: dict[str, object], message: str
) -> None:
    with pytest.raises(IndexMismatchError, match=message):
        Index.open(index.store.address, fake_model, **asked)  # type: ignore[arg-type]


def test_another_model_is_refused_by_name(index: Index, torch_model: JinaEmbeddings) -> None:
    with pytest.raises(IndexMismatchError, match="made with the model fake, not with "):
        Index.open(index.store.address, torch_model)


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for seed in (1, 2):
        make_checkpoint(folder, dtype="float32", seed=seed)
        with JinaEmbeddings(folder, engine="torch") as model:
            if seed == 1:
                Index.open(tmp_path / "index", model, create=True)
                Index.open(tmp_path / "index", model)
                folder.rename(tmp_path / "old")
                continue
            with pytest.raises(IndexMismatchError, match=r"its vectors differ \(cosine"):
                Index.open(tmp_path / "index", model)
    # The same weights elsewhere are the same model.
    with JinaEmbeddings(tmp_path / "old", engine="torch") as moved:
        Index.open(tmp_path / "index", moved)


def test_a_task_that_does_not_exist_is_refused(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    with pytest.raises(UnknownTaskError):
        Index.open(tmp_path / "index", fake_model, create=True, task="search")


def test_one_writer_at_a_time(index: Index) -> None:
    with written_by_us(index.store.address), pytest.raises(IndexBusyError, match="another process"):
        index.update([document("a", "one")])
    index.update([document("a", "one")])


def test_searches_from_threads_while_it_changes(index: Index) -> None:
    index.update([document("a", "red apple")])
    found: list[str] = []

    def search() -> None:
        for _ in range(5):
            found.extend(hit.passage.text for hit in index.search("red apple", limit=1))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(5):
        index.update([document(f"n{number}", f"number {number}")])
    for thread in threads:
        thread.join(60)
    assert found == ["red apple"] * 15


@pytest.mark.long
def test_the_approximate_index_finds_what_the_exact_one_finds(index: Index) -> None:
    words = [f"word{number} word{number % 50} word{number % 7}" for number in range(2000)]
    index.update([document(f"d{n}", *words[n : n + 100]) for n in range(0, 2000, 100)], ann_numbers=1000)
    assert index.store.is_approximate
    same = []
    for number in range(0, 2000, 100):
        query = f"word{number} word{number % 50}"
        exact = {hit.passage.text for hit in index.search(query, exact=True, limit=5)}
        same.append(len(exact & {hit.passage.text for hit in index.search(query, limit=5)}) / 5)
    assert np.mean(same) >= 0.9
    # Passages that are added later are found too.
    index.update([document("new", "quite another thing")])
    assert index.search("quite another thing")[0].passage.path == "new"


def test_an_index_in_an_address_that_is_no_folder(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/store"
    index = Index.open(address, fake_model, create=True, dimension=DIM)
    index.update([document("a", "one")])
    assert len(Index.open(address, fake_model)) == 1


def test_recall_is_what_an_ordinary_search_finds_of_the_exact_one(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.update([document(str(number), f"text {number}") for number in range(40)])
    measured = recall.measure(index.store, questions=10)
    assert (measured.recall, measured.questions, measured.depth) == (1.0, 10, 10)
    search = index.store.search

    def forgetful(vector: Any, limit: int, *, exact: bool = False) -> list[Any]:
        hits = search(vector, limit, exact=exact)
        return hits if exact else hits[: 1 + (limit - 1) // 2]

    monkeypatch.setattr(index.store, "search", forgetful)
    assert recall.measure(index.store, questions=10).recall == 0.5


def test_an_index_of_the_first_format_is_searched_and_kept_in_step(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    """As the version before words and multi-vectors made it: other columns, and other keys in its fingerprint."""
    address = tmp_path / "index"
    made = Index.open(address, fake_model, create=True, dimension=DIM)
    made.update([document("a", "red apple"), document("b", "green pear")])
    rows = made.store._table.to_arrow().drop_columns([words.COLUMN])
    fields = json.loads(made.store.fingerprint.to_json())
    first = {name: fields[name] for name in ("model", "revision", "task", "dimension", "kind", "probe")} | {"format": 1}
    rows = rows.replace_schema_metadata({FINGERPRINT_KEY: json.dumps(first)})
    lancedb.connect(address).create_table("passages", rows, mode="overwrite")

    index = Index.open(address, fake_model, create=True)
    assert index.search("red apple")[0].passage.text == "red apple"
    assert (index.describe()["words"], index.describe()["multivector"]) == (False, None)
    summary = index.update([document("a", "red apple"), document("c", "blue plum")], gone=lambda path: True)
    assert (summary.unchanged, summary.embedded, summary.removed) == (1, 1, 1)
    assert texts(index) == ["blue plum", "red apple"]
    with pytest.raises(IndexMismatchError, match="make the index again"):
        index.search("red", mode="words")
    with pytest.raises(IndexMismatchError, match="multivector None, not int8"):
        Index.open(address, fake_model, multivector="int8")


def test_the_length_of_a_vector_changes_no_score(index: Index, fake_model: JinaEmbeddings) -> None:
    index.update([document("a", "red apple", "green pear"), document("b", "a cat")])
    query = fake_model.encode_text("green pear", truncate_dim=DIM)
    expected = [hit.score for hit in index.search("green pear", mode="dense")]
    for factor in (0.01, 1, 30):
        found = [hit.score for hit in index.search_vector(factor * query)]
        assert found == pytest.approx(expected, abs=1e-5)
