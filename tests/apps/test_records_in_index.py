"""Records in an index: their fields are filters, results and failures name their line, and pictures their content."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.documents import CutOptions
from jina_embeddings.apps.index import Hit, Index, Summary
from jina_embeddings.apps.retrieval import index_files


class Kept:
    """A folder with documents, and an index beside it."""

    def __init__(self, folder: Path, model: JinaEmbeddings):
        self.folder, self.model = folder, model
        (folder / "docs").mkdir()

    def write(self, name: str, *records: Any) -> None:
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (self.folder / "docs" / name).write_text("\n".join(lines) + "\n")

    def update(self, **options: Any) -> tuple[Index, Summary]:
        return index_files([self.folder / "docs"], self.folder / "own.index", self.model, **options)

    def sources(self, **filters: Any) -> list[str]:
        return sorted(hit.passage.source for hit in self.search(**filters))

    def search(self, **filters: Any) -> list[Hit]:
        return Index.open(self.folder / "own.index", self.model).search("hello", filters=filters)


@pytest.fixture
def kept(tmp_path: Path, fake_model: JinaEmbeddings) -> Kept:
    return Kept(tmp_path, fake_model)


def test_fields_of_records_are_filters(kept: Kept) -> None:
    kept.write("a.csv", "id,text,lang,year", "a,hello world,en,2020", "b,bonjour,fr,2021")
    kept.write("b.tsv", "id\ttext\tlang", 'c\t"good, day"\ten')
    kept.write(
        "c.jsonl",
        {"id": "d", "text": "hi", "lang": "en", "year": 2020, "good": True, "tags": ["x", "y"], "title": "T"},
        {"id": "e", "text": "hi", "lang": None, "deep": {"a": 1}, "long": "x" * 2000, "a=b": "c"},
    )
    _, summary = kept.update()
    assert not summary.failures
    assert kept.sources(lang="en") == ["docs/a.csv:2", "docs/b.tsv:2", "docs/c.jsonl:1"]
    assert kept.sources(year="2020") == ["docs/a.csv:2", "docs/c.jsonl:1"]
    assert kept.sources(tags="y") == kept.sources(good="true") == kept.sources(title="T") == ["docs/c.jsonl:1"]
    assert kept.sources(id="b") == ["docs/a.csv:3"]
    (hit,) = kept.search(id="d")
    assert (hit.passage.metadata["tags"], hit.passage.line) == (("x", "y"), 1)
    assert hit.record()["metadata"]["tags"] == ["x", "y"]
    (other,) = kept.search(id="e")
    assert dict(other.passage.metadata) == {"format": "jsonl", "id": "e"}


def test_failures_of_records_name_id_and_line(kept: Kept) -> None:
    kept.write("a.jsonl", {"text": 5}, '{"text": NaN}', {"id": "x", "body": "hi"}, {"id": "y", "image": "no.png"}, "{")
    kept.write("b.csv", "id,text,lang", "1,one", "2,two,en")
    _, summary = kept.update()
    told = [str(failure) for failure in summary.failures]
    assert [line.partition(": ")[0] for line in told] == [
        "docs/a.jsonl:1",
        "docs/a.jsonl:2",
        "docs/a.jsonl:3 (id x)",
        "docs/a.jsonl:5",
        "docs/b.csv:2",
        "docs/a.jsonl:4 (id y)",
    ]
    assert "2 cells for 3 columns" in told[4]
    assert kept.sources() == ["docs/b.csv:3"]


def test_the_fields_of_text_and_picture_can_be_named(kept: Kept) -> None:
    kept.write("a.jsonl", {"body": "hi", "text": "no"})
    kept.update(options=CutOptions(text_field="body"))
    (hit,) = kept.search()
    assert (hit.passage.text, hit.passage.metadata["text"]) == ("hi", "no")


def test_the_text_of_a_record_is_cut_at_the_passage_size(kept: Kept) -> None:
    kept.write("a.jsonl", {"id": "a", "text": "One two three four. " * 20})
    kept.update(options=CutOptions(size=100))
    hits = kept.search()
    assert len(hits) >= 4
    assert all(len(hit.passage.text) <= 100 and hit.passage.source == "docs/a.jsonl:1" for hit in hits)


def test_control_characters_in_records_are_spaces(kept: Kept) -> None:
    kept.write("a.jsonl", {"text": "a\x02b\u009fc\ufffed", "\ud800": "\ud800"})
    kept.update()
    assert [hit.passage.text for hit in kept.search()] == ["a b c d"]


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 60), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_of_records_by_path_file_url_and_data_url(kept: Kept) -> None:
    (kept.folder / "p.png").write_bytes(picture("red"))
    data = "data:image/png;base64," + base64.b64encode(picture("blue")).decode()
    url = (kept.folder / "p.png").as_uri()
    kept.write("a.jsonl", {"image": "../p.png"}, {"image": url}, {"image": data})
    _, summary = kept.update()
    assert not summary.failures
    # One picture has one vector, by whatever name.
    assert kept.sources(kind="image") == [f"docs/a.jsonl:{line}" for line in (1, 2, 3)]
    _, again = kept.update()
    assert (again.documents, again.unchanged) == (0, 1)


def test_a_replaced_picture_of_a_record_is_embedded_again(kept: Kept) -> None:
    path = kept.folder / "p.png"
    path.write_bytes(picture("red"))
    kept.write("a.jsonl", {"image": "../p.png"}, {"text": "beside it"})
    kept.update()
    before = kept.search(kind="image")[0].cosine
    path.write_bytes(picture("blue"))
    os.utime(path, (0, 0))
    _, summary = kept.update()
    assert (summary.documents, summary.embedded, summary.reused) == (1, 1, 1)
    assert kept.search(kind="image")[0].cosine != before


def test_a_picture_that_may_not_be_read_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(picture("red"))
    os.mkfifo(tmp_path / "pipe")
    with JinaEmbeddings(engine="fake", image_paths=False, image_urls=False) as model:
        kept = Kept(tmp_path, model)
        kept.write(
            "a.jsonl", {"image": "../p.png"}, {"image": "../pipe"}, {"image": "http://127.0.0.1/"}, {"text": "x"}
        )
        _, summary = kept.update()
    assert [str(failure).partition(": ")[0] for failure in summary.failures] == [
        f"docs/a.jsonl:{line}" for line in (1, 2, 3)
    ]
