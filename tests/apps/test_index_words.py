"""Searching words, and joining them with vectors."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Document, Index, Passage
from jina_embeddings.apps.index.fusion import join
from jina_embeddings.apps.index.words import searchable
from jina_embeddings.errors import OptionError

DIM = 128


def document(path: str, *texts: str, title: str = "") -> Document:
    return Document(path, "|".join(texts), lambda: [Passage(path, "text", text, title=title) for text in texts])


@pytest.fixture
def index(tmp_path: Path, fake_model: JinaEmbeddings) -> Index:
    return Index.open(tmp_path / "index", fake_model, create=True, dimension=DIM)


def found(index: Index, query: str, **options: object) -> list[str]:
    return [hit.passage.text for hit in index.search(query, **options)]  # type: ignore[arg-type]


def test_word_search_finds_only_passages_with_the_words(index: Index) -> None:
    index.update([document("a", "part number QX-7731 is out of stock", "the boiler was repaired", "rain tomorrow")])
    assert found(index, "QX-7731", mode="words") == ["part number QX-7731 is out of stock"]
    assert found(index, "repairing boilers", mode="words") == ["the boiler was repaired"]
    assert found(index, "zebra", mode="words") == []


@pytest.mark.parametrize(
    "query", ['"repaired boiler"', '"', '" "', '"boiler', "boiler:*", "+boiler -snow", "boiler AND ("]
)
def test_a_query_has_no_syntax(index: Index, query: str) -> None:
    index.update([document("a", "the boiler was repaired", "rain tomorrow")])
    assert found(index, query, mode="words")[:1] == (["the boiler was repaired"] if "boiler" in query else [])
    assert len(found(index, query)) == 2


@pytest.mark.filterwarnings("ignore::jina_embeddings.errors.TextCutWarning")
def test_of_a_long_query_words_of_the_beginning_are_looked_up(index: Index) -> None:
    index.update([document("a", "the boiler was repaired", "rain tomorrow")])
    began = time.process_time()
    assert found(index, "boiler" + " x" * 100_000 + " rain", mode="words") == ["the boiler was repaired"]
    assert time.process_time() - began < 5


def test_words_are_found_without_spaces_and_without_accents(index: Index) -> None:
    index.update([document("a", "春眠不覚暁、処々啼鳥を聞く", "Ein Café in Köln", "the third")])
    assert found(index, "啼鳥", mode="words") == ["春眠不覚暁、処々啼鳥を聞く"]
    assert found(index, "cafe koln", mode="words") == ["Ein Café in Köln"]


def test_titles_and_parts_of_identifiers_are_words(index: Index) -> None:
    index.update([document("a", "return socket.listen()", title="HTTPServer.startListening"), document("b", "other")])
    for query in ("start listening", "http server", "startListening"):
        assert found(index, query, mode="words") == ["return socket.listen()"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("parseHTMLFile", "parse HTML File"),
        ("snake_case_name", "snake case name"),
        ("MAX_SIZE", "MAX SIZE"),
        ("utf8Decode", "utf8 Decode"),
        ("plain words here", ""),
        ("größeÄndern", "größe Ändern"),
    ],
)
def test_identifiers_are_split_at_capitals_and_underscores(text: str, parts: str) -> None:
    assert searchable(text).partition("\n")[2] == parts


def test_word_search_sees_recent_writes_and_removals(index: Index) -> None:
    index.update([document("a", "one alpha"), document("b", "two beta")])
    index.update([document("a", "one gamma")], gone=lambda path: path == "b")
    assert found(index, "gamma", mode="words") == ["one gamma"]
    assert found(index, "alpha beta", mode="words") == []


def test_filters_apply_to_word_search(index: Index) -> None:
    index.update([document("a.md", "red apple"), document("b.md", "red pear")])
    assert found(index, "red", mode="words", filters={"path": "b*"}) == ["red pear"]


def test_hybrid_joins_the_best_hundred_of_both(index: Index) -> None:
    index.update([document("a", *(f"passage {number} of many" for number in range(30)), "the code is XK99")])
    dense = index.search("XK99 code", mode="dense", limit=100)
    words = index.search("XK99 code", mode="words", limit=100)
    expected = join([(hit.id, hit.score) for hit in dense], [(hit.id, hit.score) for hit in words])
    hits = index.search("XK99 code", mode="hybrid", limit=5)
    assert [hit.score for hit in hits] == pytest.approx(list(expected.values())[:5])
    assert [hit.id for hit in hits] == list(expected)[:5]
    cosines = {hit.id: hit.cosine for hit in dense}
    assert [hit.cosine for hit in hits] == pytest.approx([cosines[hit.id] for hit in hits], abs=1e-5)


@pytest.mark.parametrize(
    ("dense", "words", "joined"),
    [
        ([("a", 0.9), ("b", 0.5)], [("b", 7.0), ("c", 3.0)], {"a": 0.8, "b": 0.2, "c": 0.0}),
        # One word that only one passage has.
        ([("a", 0.9), ("b", 0.88), ("c", 0.5)], [("b", 7.0)], {"b": 0.96, "a": 0.8, "c": 0.0}),
        ([("a", 0.5)], [], {"a": 0.8}),
        ([], [], {}),
    ],
)
def test_scores_are_scaled_and_weighted(
    dense: list[tuple[str, float]], words: list[tuple[str, float]], joined: dict[str, float]
) -> None:
    found = join(dense, words)
    assert found == pytest.approx(joined)
    assert list(found) == list(joined)


def test_min_score_leaves_out_lower_hits(index: Index) -> None:
    index.update([document("a", "red apple", "green pear", "blue sky")])
    scores = [hit.score for hit in index.search("red apple")]
    assert len(index.search("red apple", min_score=scores[1])) == 2


def test_impossible_word_searches_are_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown mode"):
        index.search("x", mode="sparse")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="a picture has no words"):
        index._find(tmp_path / "x.png", *_nothing(), options=_words())  # type: ignore[arg-type]


def _nothing() -> tuple[object, None]:
    import numpy as np

    return np.zeros(DIM, dtype=np.float32), None


def _words() -> object:
    from jina_embeddings.apps.index import SearchOptions

    return SearchOptions(mode="words")


def test_documents_are_removed_by_path(index: Index) -> None:
    index.update([document("x/a", "one", "two"), document("x/b", "three"), document("y", "four")])
    assert index.remove("x/a") == 2
    assert index.remove("x/*") == 1
    assert (len(index), index.describe()["documents"]) == (1, 1)
