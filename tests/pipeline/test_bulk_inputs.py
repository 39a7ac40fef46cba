"""Rows of each kind of file by their number: read in one go, or from any row on, they are the same."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jina_embeddings.errors import InputError, RunMismatchError
from jina_embeddings.pipeline import opening
from jina_embeddings.pipeline.kept import kept_types
from jina_embeddings.pipeline.plan import Plan, PlanReader
from jina_embeddings.pipeline.records import Fields
from jina_embeddings.pipeline.rows import Failure, Row
from jina_embeddings.pipeline.sources import survey

NUM_ROWS = 2500
RECORDS = [{"text": f"row {n}, in words", "id": f"id-{n}", "year": n} for n in range(NUM_ROWS)]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(file, "png")
    return file.getvalue()


def write_tar(path: Path, num_samples: int) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for number in range(num_samples):
            members = {"txt": f"caption {number}\n".encode(), "json": json.dumps({"year": number}).encode()}
            if number % 3:
                members = {"png": png(number), **members}
            for ending, data in members.items():
                info = tarfile.TarInfo(f"part/{number:05d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def write(path: Path) -> None:
    table = pa.Table.from_pylist(RECORDS)
    if path.name == "a.tar.zst":
        write_tar(path, NUM_ROWS)
        path.write_bytes(pytest.importorskip("zstandard").compress(path.read_bytes()))
    elif ".tar" in path.name:
        write_tar(path, NUM_ROWS)
    elif path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=700)
    elif path.name == "stream.arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=300)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=300)
    elif path.suffix == ".lance":
        pytest.importorskip("lance").write_dataset(table, str(path), max_rows_per_file=900)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(LINES))
    elif path.suffix == ".zst":
        path.write_bytes(pytest.importorskip("zstandard").compress(LINES))
    elif path.suffix == ".csv":
        path.write_text("id,text,year\n" + "".join(f'{r["id"]},"{r["text"]}",{r["year"]}\n' for r in RECORDS))
    else:
        path.write_bytes(LINES)


FILES = [
    *("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.csv", "a.parquet", "a.arrow", "stream.arrow", "a.lance"),
    *(pytest.param(name, marks=pytest.mark.long) for name in ("a.tar", "a.tar.gz", "a.tar.zst")),
]


@pytest.mark.parametrize("name", FILES)
def test_rows_are_the_same_wherever_reading_begins(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    plan = Plan(survey([str(path)]).sources, 1000, Fields(keep=("year",)))
    assert plan.num_rows == NUM_ROWS
    reader = PlanReader(plan)
    rows = [row for row in reader.read(0, NUM_ROWS) if isinstance(row, Row)]
    assert len(rows) == NUM_ROWS
    if ".tar" in name:
        assert rows[0] == Row(f"{path}#part/00000", "text", {"text": "caption 0"}, {"year": 0})
        assert rows[7] == Row(f"{path}#part/00007", "image", {"image": png(7)}, {"year": 7})
    else:
        assert [row.id for row in rows] == [record["id"] for record in RECORDS]
        assert [row.input for row in rows] == [{"text": record["text"]} for record in RECORDS]
        assert [int(row.kept["year"]) for row in rows] == list(range(NUM_ROWS))
    choose = random.Random(1)
    for _ in range(12):
        start = choose.randrange(NUM_ROWS)
        stop = min(NUM_ROWS, start + choose.choice([1, 10, 900]))
        assert list(reader.read(start, stop)) == rows[start:stop]
    reader.close()
    assert [name for name, _ in kept_types(plan, "parquet")] == ["year"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.parquet", "a.csv"])
def test_a_file_is_opened_once_for_all_ranges_of_its_rows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / name)
    plan = Plan(survey([str(tmp_path / name)]).sources, 100)
    opened: list[str] = []
    real = opening.open_stored

    def counted(path: str) -> Any:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(opening, "open_stored", counted)
    monkeypatch.setattr("jina_embeddings.pipeline.tables.open_stored", counted)
    reader = PlanReader(plan)
    for start in range(0, NUM_ROWS, 100):
        assert len(list(reader.read(start, start + 100))) == 100
    assert len(opened) == 1
    # A share reads on, too: what lies between is passed by.
    if name.endswith(".gz"):
        reader = PlanReader(plan)
        assert [next(iter(reader.read(start, start + 1))).id for start in (100, 900, 2000)] == [
            "id-100",
            "id-900",
            "id-2000",
        ]
        assert len(opened) == 2


def test_a_folder_saved_by_datasets_is_read_as_its_tables(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    splits = {"train": RECORDS[:40], "test": RECORDS[40:60]}
    made = datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in splits.items()})
    made.save_to_disk(str(tmp_path / "both"))
    made["train"].filter(lambda record: record["year"] >= 30).save_to_disk(str(tmp_path / "some"), num_shards=2)
    for folder, expected in (("both", RECORDS[:60]), ("some", RECORDS[30:40])):
        plan = Plan(survey([str(tmp_path / folder)]).sources, 100)
        rows = list(PlanReader(plan).read(0, plan.num_rows))
        assert [row.id for row in rows] == [record["id"] for record in expected]


def test_a_file_with_fewer_rows_than_it_had_ends_the_run(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    plan = Plan(survey([str(tmp_path / "a.jsonl")]).sources, 100)
    (tmp_path / "a.jsonl").write_bytes(LINES[: len(LINES) // 2])
    with pytest.raises(RunMismatchError, match="has changed since the run was planned"):
        list(PlanReader(plan).read(0, NUM_ROWS))


def damaged(path: Path) -> Iterator[Path]:
    data = bytearray(path.read_bytes())
    data[200:240] = bytes(40)
    path.write_bytes(data)
    yield path


def test_a_damaged_table_rejects_its_rows_and_the_next_file_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_bytes(LINES)
    next(damaged(tmp_path / "a.parquet"))
    plan = Plan(survey([str(tmp_path)]).sources, 100)
    reader = PlanReader(plan)
    rows = [row for start in range(0, plan.num_rows, 500) for row in reader.read(start, start + 500)]
    assert len(rows) == 2 * NUM_ROWS
    failures = [row for row in rows if isinstance(row, Failure)]
    assert failures
    assert "can't be read" in str(failures[0].error)
    assert rows[NUM_ROWS:] == list(PlanReader(plan).read(NUM_ROWS, 2 * NUM_ROWS))
    assert not any(isinstance(row, Failure) for row in rows[NUM_ROWS:])


def test_records_with_too_many_or_too_few_cells_are_rejected_and_two_columns_of_one_name_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text("text,id\none, and more,1\ntwo,2\nthree\n")
    plan = Plan(survey([str(tmp_path / "a.csv")]).sources, 10)
    rows = list(PlanReader(plan).read(0, 3))
    assert [type(row) for row in rows] == [Failure, Row, Failure]
    (tmp_path / "a.csv").write_text("text,text\none,two\n")
    with pytest.raises(InputError, match="names a column twice"):
        survey([str(tmp_path / "a.csv")])


def test_a_quote_that_is_not_closed_is_refused_with_its_line_or_rejected_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,one\n2,"two\n3,three\n')
    with pytest.raises(InputError, match=r"line 3: not CSV: .*close its quotes"):
        survey([str(tmp_path / "a.csv")])
    (tmp_path / "b.csv").write_text("id,text\n4,four\n")
    rows = list(PlanReader(Plan(survey([str(tmp_path)]).sources, 10)).read(0, 2))
    assert [type(row) for row in rows] == [Failure, Row]
