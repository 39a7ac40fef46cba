"""Files as other programs write them, and columns of odd types: what is kept is what was there, or a clear error."""

from __future__ import annotations

import gzip
import io
import tarfile
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import InputError, RunError, RunMismatchError
from jina_embeddings.pipeline import Fields, Form, Run, tables
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.kept import check_fields, kept_types
from jina_embeddings.pipeline.manifest import Manifest
from jina_embeddings.pipeline.plan import Plan, PlanReader
from jina_embeddings.pipeline.sources import changed, survey

BOM = b"\xef\xbb\xbf"


def plan_of(*paths: Path, keep: tuple[str, ...] = (), lines: bool = False) -> Plan:
    return Plan(survey([str(path) for path in paths], lines=lines).sources, 3, Fields(keep=keep))


def embedded(folder: Path, plan: Plan) -> pa.Table:
    with JinaEmbeddings("fake", engine="fake") as model:
        Job(Folder.at(folder / "v"), plan, Form(truncate_dim=128)).work(model, lambda *_: None)
    return pq.read_table(sorted((folder / "v").glob("shard-*.parquet")))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", BOM + b"text,n\none,1\ntwo,2\n"),
        ("a.csv", BOM + b'"text","n"\n"one","1"\n"two","2"\n'),
        ("a.csv", BOM + b'"text","n"\r\n"one","1"\r\n"two","2"\r\n'),
        ("a.tsv", BOM + b'"text"\t"n"\none\t1\ntwo\t2\n'),
        ("a.csv.gz", gzip.compress(BOM + b'"text","n"\none,1\ntwo,2\n')),
        ("a.csv", b"\n\ntext,n\n\none,1\n\ntwo,2\n"),
        ("a.jsonl", BOM + b'{"text": "one", "n": "1"}\n{"text": "two", "n": "2"}\n'),
    ],
)
def test_byte_order_marks_and_blank_lines_are_passed_over(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    plan = plan_of(tmp_path / name, keep=("text", "n"))
    check_fields(plan)
    table = embedded(tmp_path, plan)
    assert table["error"].null_count == 2
    assert (table["text"].to_pylist(), table["n"].to_pylist()) == (["one", "two"], ["1", "2"])


def test_many_rows_behind_a_mark_are_counted_and_read_from_anywhere(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(BOM + b'"text"\n')
        file.writelines(b'"row %d"\n' % number for number in range(20_000))
    plan = plan_of(tmp_path / "a.csv")
    assert plan.num_rows == 20_000
    reader = PlanReader(plan)
    for start in (19_999, 0, 1000, 1001):
        (row,) = reader.read(start, start + 1)
        assert row.input == {"text": f"row {start}"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv", "text\none\n".encode("utf-16"), "in UTF-16-LE: convert it to UTF-8"),
        ("a.jsonl", '{"text": "one"}\n'.encode("utf-16-be").join((b"\xfe\xff", b"")), "in UTF-16-BE: convert it"),
        ("a.csv", b"text,n\rone,1\rtwo,2\r", "end lines by"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "one"}\n' * 9000)[:-30], "ended before"),
        ("a.jsonl.gz", b"nothing packed", "Not a gzipped file"),
        ("a.jsonl.zst", b"nothing packed", "a broken .zst"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_or_rejected_in_a_folder(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name} can't be read: .*{reason}"):
        plan_of(tmp_path / "in" / name)
    (tmp_path / "in" / "good.jsonl").write_text('{"text": "one"}\n')
    table = embedded(tmp_path, plan_of(tmp_path / "in"))
    assert sorted(message or "" for message in table["error"].to_pylist())[0] == ""
    assert reason in sorted(message or "" for message in table["error"].to_pylist())[1]


def test_tables_with_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    for kind in ("parquet", "arrow"):
        with pytest.raises(InputError, match="two columns have one name \\('text'\\): rename one"):
            plan_of(tmp_path / f"a.{kind}")


def test_a_run_without_anything_to_embed_is_refused_before_it_begins(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("title\nb\n")
    with pytest.raises(RunError, match="no file has a column 'text' or 'image' \\(but 'body'\\): name one with"):
        Run([tmp_path / "a.parquet", tmp_path / "b.csv"], tmp_path / "v").embed(JinaEmbeddings)
    assert not Manifest.read(Folder.at(tmp_path / "v"))
    (tmp_path / "c.csv").write_text("text\nb\n")
    check_fields(plan_of(tmp_path / "a.parquet", tmp_path / "c.csv"))


def test_half_a_surrogate_pair_is_kept_as_its_escape(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one", "k": "\\ud800", "o": {"a": ["\\udfff"]}}\n')
    table = embedded(tmp_path, plan_of(tmp_path / "a.jsonl", keep=("k", "o")))
    assert (table["k"].to_pylist(), table["o"].to_pylist()) == (["\\ud800"], ['{"a": ["\\udfff"]}'])


NUMBERS = pa.array([1, 2, None, 1_577_836_800_000_000_001, 5])
COLUMNS: dict[str, Any] = {
    "time": pa.array([1, 2, None, 4, 5], pa.time64("ns")),
    "timestamp": NUMBERS.cast(pa.timestamp("ns")),
    "zoned": NUMBERS.cast(pa.timestamp("ns", tz="Europe/Berlin")),
    "decimal": pa.array([Decimal("1.10"), None, Decimal("-2.00"), Decimal(3), Decimal(4)], pa.decimal128(9, 2)),
    "dictionary": pa.array(["a", "b", "a", None, "c"]).dictionary_encode(),
    "map": pa.array([[("k", 1)], [], None, [("q", 2)], [("z", None)]], pa.map_(pa.string(), pa.int64())),
    "nested": pa.array([[{"a": 1, "b": b"\xff"}], [], None, [None], [{"a": None, "b": None}]]),
    "binary": pa.array([b"\xff\0", b"", None, b"a", b"b"]),
    "nothing": pa.nulls(5),
    'line\nbreak, "quotes" and.dot': pa.array(["a", "b", None, "\n", ""]),
    "uuid": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([uuid.UUID(int=number).bytes for number in range(5)], pa.binary(16))
    ),
}


@pytest.mark.parametrize("texts", [list("abcde"), ["a", "", None, "d", "e"]], ids=["by columns", "row by row"])
def test_columns_of_any_type_are_kept_as_they_are(tmp_path: Path, texts: list[str | None]) -> None:
    given = pa.table({"text": pa.array(texts, pa.string()), **COLUMNS})
    pq.write_table(given, tmp_path / "a.parquet")
    found = embedded(tmp_path, plan_of(tmp_path / "a.parquet", keep=tuple(COLUMNS)))
    for name in COLUMNS:
        expected = pq.read_table(tmp_path / "a.parquet")[name]
        assert found[name].type == expected.type, name
        assert found[name].combine_chunks().equals(expected.combine_chunks()), name


def test_types_that_parquet_has_not_are_kept_as_strings(tmp_path: Path) -> None:
    given = pa.table({"text": ["a"], "interval": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, given.schema) as writer:
        writer.write_table(given)
    assert embedded(tmp_path, plan_of(tmp_path / "a.arrow", keep=("interval",)))["interval"].to_pylist() == [
        "[1, 2, 3]"
    ]


def test_the_schemas_of_files_are_read_once_for_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def table_schema(path: str, kind: str) -> Any:
        read.append(path)
        return tables.table_schema(path, kind)

    monkeypatch.setattr("jina_embeddings.pipeline.kept.table_schema", table_schema)
    for number in range(3):
        pq.write_table(pa.table({"text": [*"abcdefg"], "n": [1] * 7}), tmp_path / f"{number}.parquet")
    plan = plan_of(tmp_path, keep=("n",))
    assert plan.num_shards == 7
    assert embedded(tmp_path, plan).num_rows == 21
    assert len(read) == 3
    # A file that has changed is read again.
    pq.write_table(pa.table({"text": ["a"], "n": ["one"]}), tmp_path / "0.parquet")
    assert kept_types(plan_of(tmp_path / "0.parquet", keep=("n",)), "parquet") == [("n", pa.string())]


def test_what_each_shard_asks_for_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a run of many files or marks has as much to do for each shard as for its whole plan."""
    made: list[int] = []
    real = Manifest.to_json

    def to_json(manifest: Manifest) -> str:
        made.append(1)
        return real(manifest)

    monkeypatch.setattr(Manifest, "to_json", to_json)
    (tmp_path / "a.txt").write_text("row\n" * 60)
    plan = plan_of(tmp_path / "a.txt", lines=True)
    assert embedded(tmp_path, plan).num_rows == 60
    assert plan.num_shards == 20
    assert len(made) <= 3
    assert plan.num_rows == 60
    assert vars(plan)["num_rows"] == 60


def test_a_sample_whose_json_is_nested_too_deeply_has_no_fields(tmp_path: Path) -> None:
    # Deeper than any version of Python reads: 3.13 takes 5,000 levels.
    deep = b'{"n": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (("a.txt", b"one"), ("a.json", deep), ("b.txt", b"two")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    table = embedded(tmp_path, plan_of(tmp_path / "a.tar", keep=("n",)))
    assert (table["n"].to_pylist(), table["error"].null_count) == ([None, None], 2)


def test_a_table_that_is_cut_later_is_no_table_of_bad_rows(tmp_path: Path) -> None:
    """Rows that were never read are not rejected for good."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"row {n}" for n in range(50)]}), path, row_group_size=10)
    plan = plan_of(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunMismatchError, match="has changed since the run was planned"):
        list(PlanReader(plan).read(0, 50))


def test_a_file_that_is_read_in_another_way_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    before, now = plan_of(tmp_path / "a.txt", lines=True), plan_of(tmp_path / "a.txt")
    assert list(changed(before.sources, now.sources)) == [f"{tmp_path}/a.txt was read as lines and is read as text"]
