"""Rows that are read by columns are those that are read one by one; the fake engine's texts together are each alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.pipeline.plan import Plan, PlanReader
from jina_embeddings.pipeline.records import Fields
from jina_embeddings.pipeline.shard_writer import kept_column
from jina_embeddings.pipeline.sources import survey
from jina_embeddings.pipeline.stretch import Stretch

TEXTS = [f"größe {number}" for number in range(50)]
BY_COLUMNS: dict[str, dict[str, Any]] = {
    "texts": {"text": TEXTS},
    "large strings": {"text": pa.array(TEXTS, pa.large_string())},
    "ids": {"text": TEXTS, "id": [f"id{number}" for number in range(50)]},
    "numbers as ids": {"text": TEXTS, "id": range(-25, 25)},
    "kept": {"text": TEXTS, "n": range(50), "tags": [["a"] * (number % 3) for number in range(50)]},
    "no images": {"text": TEXTS, "image": pa.nulls(50, pa.string())},
}
ONE_BY_ONE: dict[str, dict[str, Any]] = {
    "an empty text": {"text": [*TEXTS[1:], ""]},
    "no text": {"text": [*TEXTS[1:], None]},
    "images": {"text": [*TEXTS[1:], None], "image": [*[None] * 49, "a.png"]},
    "an image too many": {"text": TEXTS, "image": [*[None] * 49, "a.png"]},
    "numbers": {"text": range(50)},
    "a number missing among ids": {"text": TEXTS, "id": [*range(49), None]},
    "truth values as ids": {"text": TEXTS, "id": [True, False] * 25},
    "a row without an id": {"text": TEXTS, "id": [*TEXTS[1:], None]},
    "an empty id": {"text": TEXTS, "id": [*TEXTS[1:], ""]},
    "another column": {"body": TEXTS},
    "a dictionary": {"text": pa.array(TEXTS).dictionary_encode()},
}


def reader_of(columns: dict[str, Any], path: Path) -> PlanReader:
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path, row_group_size=20)
    return PlanReader(Plan(survey([str(path)]).sources, 50, Fields(keep=("n", "tags", "missing"))))


@pytest.mark.parametrize("name", BY_COLUMNS)
def test_what_is_read_by_columns_is_what_is_read_one_by_one(name: str, tmp_path: Path) -> None:
    reader = reader_of(BY_COLUMNS[name], tmp_path / "a.parquet")
    for start, stop in ((0, 50), (10, 45), (45, 50), (0, 1)):
        found, expected = (
            reader.texts(start, stop),
            Stretch.of(list(reader.read(start, stop)), ("n", "tags", "missing")),
        )
        assert found is not None
        assert (found.ids, found.kinds, found.errors) == (expected.ids, expected.kinds, {})
        assert [{"text": text} for text in found.inputs] == expected.inputs
        for column, values in expected.kept.items():
            made = kept_column(found.kept[column], pa.array(values).type)
            assert made.to_pylist() == values


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_rows_that_have_to_be_looked_at_are_not_read_by_columns(name: str, tmp_path: Path) -> None:
    reader = reader_of(ONE_BY_ONE[name], tmp_path / "a.parquet")
    assert reader.texts(0, 50) is None
    assert len(list(reader.read(0, 50))) == 50


def test_rows_of_two_files_are_read_one_by_one(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(pa.table({"text": TEXTS}), tmp_path / name)
    reader = PlanReader(Plan(survey([str(tmp_path)]).sources, 100))
    assert reader.texts(0, 51) is None
    assert reader.texts(0, 50) is not None
    assert reader.texts(50, 100) is not None


def test_a_stretch_tells_what_was_rejected() -> None:
    rows = Stretch(["a", "b", "c"], ["text"] * 3, ["x", "y", "z"], {})
    assert rows.good == [0, 1, 2]
    error = ValueError("bad")
    rows.reject(1, error)
    assert (rows.good, rows.kinds, rows.errors) == ([0, 2], ["text", None, "text"], {1: error})


def test_texts_of_any_lengths_together_have_the_vectors_that_each_has_alone() -> None:
    texts = [" ".join(f"word{(number * place) % 97}" for place in range(1 + number % 23)) for number in range(100)]
    with JinaEmbeddings(engine="fake", normalize=False) as model:
        together = model.encode_text(texts, task="retrieval")
        alone = np.stack([model.encode_text(text, task="retrieval") for text in texts])
    assert np.array_equal(together, alone)
