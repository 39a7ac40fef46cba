"""The contents of the files that are written, which are there whole or not at all."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jina_embeddings.errors import OptionError
from jina_embeddings.pipeline import writers
from jina_embeddings.pipeline.writers import check_output, open_writer, output_files

METADATA = {"model": "m", "task": "retrieval", "dimension": 16, "multivector": False}
SUFFIXES = (".parquet", ".jsonl", ".npy")
RANDOM = np.random.default_rng(0)
DENSE = RANDOM.standard_normal((5, 16)).astype(np.float32)
MULTI = [RANDOM.standard_normal((length, 16)).astype(np.float32) for length in (3, 1, 7)]
TEXTS = [base64.b64encode(row.tobytes()).decode() for row in DENSE]


def write(path: Path, embeddings: Any) -> Path:
    with open_writer(path, METADATA) as writer:
        for number, embedding in enumerate(embeddings):
            writer.write(f"row {number} ü\n", "text" if number else "image", embedding)
    return path


def interrupted() -> Iterator[Any]:
    yield DENSE[0]
    raise KeyboardInterrupt


def json_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def embeddings_of(path: Path) -> Any:
    return pq.read_table(path)["embedding"].to_pylist()


def test_parquet_columns_and_metadata(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "v.parquet", DENSE))
    assert table.column_names == ["id", "kind", "embedding"]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 16)
    assert table["id"].to_pylist()[1] == "row 1 ü\n"
    assert table["kind"].to_pylist() == ["image", *["text"] * 4]
    assert np.array_equal(np.stack(table["embedding"].to_numpy(zero_copy_only=False)), DENSE)
    expected = {b"model": b"m", b"task": b"retrieval", b"dimension": b"16", b"multivector": b"false"}
    assert table.schema.metadata.items() >= expected.items()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_parquet_keeps_small_integers(tmp_path: Path, dtype: Any) -> None:
    values = DENSE.astype(np.int8).astype(dtype)
    path = write(tmp_path / "v.parquet", values)
    assert pq.read_schema(path).field("embedding").type == pa.list_(pa.from_numpy_dtype(dtype), 16)
    assert embeddings_of(path) == values.tolist()


def test_parquet_multi_vectors_are_lists_of_lists(tmp_path: Path) -> None:
    path = write(tmp_path / "v.parquet", MULTI)
    assert pq.read_schema(path).field("embedding").type == pa.list_(pa.list_(pa.float32()))
    for found, given in zip(embeddings_of(path), MULTI, strict=True):
        assert np.array_equal(np.array(found, dtype=np.float32), given)


def test_parquet_base64_is_a_string_or_a_list_of_them(tmp_path: Path) -> None:
    path = write(tmp_path / "v.parquet", TEXTS)
    assert pq.read_schema(path).field("embedding").type == pa.string()
    assert embeddings_of(path) == TEXTS
    assert embeddings_of(write(tmp_path / "m.parquet", [TEXTS[:2], TEXTS])) == [TEXTS[:2], TEXTS]


@pytest.mark.parametrize("embeddings", [DENSE, MULTI, TEXTS])
def test_parquet_row_groups_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embeddings: Any) -> None:
    whole = write(tmp_path / "whole.parquet", embeddings)
    monkeypatch.setattr(writers, "ROW_GROUP_BYTES", 130)
    parts = write(tmp_path / "parts.parquet", embeddings)
    assert pq.ParquetFile(whole).num_row_groups == 1
    assert pq.ParquetFile(parts).num_row_groups > 1
    assert pq.read_table(whole).equals(pq.read_table(parts))


def test_parquet_writes_rows_before_the_last_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "ROW_GROUP_BYTES", 64)
    with open_writer(tmp_path / "v.parquet", METADATA) as writer:
        sizes = []
        for row in RANDOM.standard_normal((50, 4096)).astype(np.float32):
            writer.write("id", "text", row)
            sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert sizes[40] > 30 * 4096 * 4


def test_json_lines_give_every_float_back_exactly(tmp_path: Path) -> None:
    hard = np.array([1e-45, 3.4e38, -0.0, 1 / 3, 16777217, 1.1754944e-38, 1, -2.5e-8], dtype=np.float32)
    rows = json_rows(write(tmp_path / "v.jsonl", [*DENSE, hard]))
    assert [row["id"] for row in rows][:2] == ["row 0 ü\n", "row 1 ü\n"]
    for row, given in zip(rows, [*DENSE, hard], strict=True):
        assert list(row) == ["id", "kind", "embedding"]
        assert np.array_equal(np.array(row["embedding"], dtype=np.float32), given)


@pytest.mark.parametrize("embeddings", [MULTI, TEXTS, DENSE.astype(np.int8), [TEXTS]])
def test_json_lines_of_other_forms(tmp_path: Path, embeddings: Any) -> None:
    rows = json_rows(write(tmp_path / "v.jsonl", embeddings))
    for row, given in zip(rows, embeddings, strict=True):
        found = np.array(row["embedding"])
        assert found.shape == np.shape(given)
        assert np.array_equal(found.astype(np.asarray(given).dtype), np.asarray(given))


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8])
def test_npy_is_one_array_with_its_rows_beside_it(tmp_path: Path, dtype: Any) -> None:
    values = (DENSE * 20).astype(np.int8).astype(dtype)
    path = write(tmp_path / "v.npy", values)
    found = np.load(path)
    assert found.dtype == dtype
    assert np.array_equal(found, values)
    assert json_rows(tmp_path / "v.npy.rows.jsonl")[1] == {"id": "row 1 ü\n", "kind": "text"}
    assert len(json_rows(tmp_path / "v.npy.rows.jsonl")) == len(values)


@pytest.mark.parametrize("suffix", [".jsonl", ".npy"])
def test_what_made_the_vectors_is_beside_the_file(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"v{suffix}", DENSE)
    assert json.loads((tmp_path / f"v{suffix}.meta.json").read_text()) == METADATA


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_appear_under_their_names_at_the_end_and_no_draft_is_left(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    with open_writer(path, METADATA) as writer:
        writer.write("a", "text", DENSE[0])
        assert all(name.startswith(".") for name in os.listdir(tmp_path))
        assert not path.exists()
    assert sorted(tmp_path.iterdir()) == sorted(output_files(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_text() == "old"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_there_is_replaced(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    path.write_text("old")
    write(path, DENSE)
    assert path.read_bytes()[:3] != b"old"


def test_the_file_asked_for_appears_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace

    def noted(source: Path, target: Path) -> None:
        order.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    write(tmp_path / "v.npy", DENSE)
    assert order[-1] == "v.npy"
    assert len(order) == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("v.csv", {}, "choose one of '.parquet', '.jsonl', '.npy'"),
        ("v", {}, "ends in ''"),
        ("v.parket", {}, "did you mean '.parquet'"),
        ("none/v.npy", {}, "there is no folder"),
        ("folder.npy", {}, "is a folder"),
        ("v.npy", {"multivector": True}, "can't hold multi-vectors"),
        ("v.npy", {"embedding_type": "base64"}, "can't hold base64"),
    ],
)
def test_impossible_outputs_are_refused(tmp_path: Path, name: str, options: dict[str, Any], message: str) -> None:
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(OptionError, match=message):
        check_output(tmp_path / name, **options)


@pytest.mark.parametrize("name", ["v.parquet", "v.jsonl", "v.npy", "V.PARQUET"])
def test_possible_outputs_are_accepted(tmp_path: Path, name: str) -> None:
    check_output(tmp_path / name)
