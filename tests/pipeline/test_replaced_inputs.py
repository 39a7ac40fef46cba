"""Files that change while a run reads them: the run ends with an error that names the file, and keeps what is right."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deadly import fake_model as load_fake_model
from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import RunMismatchError
from jina_embeddings.pipeline import Run, unchanged
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.provenance import Form
from jina_embeddings.pipeline.sources import Source, survey

SHARD_ROWS = 10


def write_parquet(path: Path, word: str) -> None:
    pq.write_table(pa.table({"text": [f"{word} {number}" for number in range(40)]}), path)


def write_jsonl(path: Path, word: str) -> None:
    path.write_text("".join(json.dumps({"text": f"{word} {number}"}) + "\n" for number in range(40)))


def write_texts(path: Path, word: str) -> None:
    path.mkdir(exist_ok=True)
    for number in range(40):
        (path / f"{number:02}.txt").write_text(f"{word} {number}")


WRITERS: dict[str, Callable[[Path, str], None]] = {
    "a.parquet": write_parquet,
    "a.jsonl": write_jsonl,
    "texts": write_texts,
}


def work(model: JinaEmbeddings, path: Path, into: Path, after: Callable[[int], None]) -> None:
    """after: called with each shard that is committed."""

    def report(name: str, *values: Any) -> None:
        if name == "committed":
            after(values[0].shard)

    Job(Folder.at(into), Plan(survey([str(path)]).sources, SHARD_ROWS), Form(truncate_dim=128)).work(model, report)


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_committed_of_a_file_that_was_replaced(
    tmp_path: Path, fake_model: JinaEmbeddings, name: str
) -> None:
    path, into, write = tmp_path / name, tmp_path / "v", WRITERS[name]
    write(path, "old")

    def replace(shard: int) -> None:
        if shard == 1:
            write(path, "new")

    with pytest.raises(RunMismatchError, match=rf"{name}.* has changed since the run was planned: put it back"):
        work(fake_model, path, into, replace)
    assert [file.name for file in into.glob("shard-*")] == ["shard-000000.parquet", "shard-000001.parquet"]
    # The file is put back, at another time.
    write(path, "old")
    work(fake_model, path, into, lambda _: None)
    work(fake_model, path, tmp_path / "whole", lambda _: None)
    tables = [pq.read_table(sorted(folder.glob("shard-*"))) for folder in (into, tmp_path / "whole")]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_only_touched_is_no_other(tmp_path: Path, fake_model: JinaEmbeddings, name: str) -> None:
    path, write = tmp_path / name, WRITERS[name]
    write(path, "old")
    sources = survey([str(path)]).sources

    def touch(shard: int) -> None:
        for source in sources:
            os.utime(source.path, (0, shard))

    work(fake_model, path, tmp_path / "v", touch)
    unchanged.check_all(sources)
    assert len([*(tmp_path / "v").glob("shard-*")]) == 4


@pytest.mark.long
def test_a_file_that_is_replaced_after_its_shard_is_named_at_the_end(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts", "old")

    def replace(name: str, *values: Any) -> None:
        if name == "committed":
            (tmp_path / "texts" / "00.txt").write_text("of another size")

    run = Run([tmp_path / "texts"], tmp_path / "v", shard_rows=20)
    with pytest.raises(RunMismatchError, match=r"00\.txt has changed since the run was planned"):
        run.embed(load_fake_model, replace)
    assert not (tmp_path / "v" / "_summary.json").exists()


@pytest.mark.long
def test_a_file_that_is_gone_is_rejected_or_was_read(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts", "old")

    def remove(name: str, *values: Any) -> None:
        if name == "planned":
            (tmp_path / "texts" / "39.txt").unlink()
        if name == "committed":
            (tmp_path / "texts" / "00.txt").unlink(missing_ok=True)

    summary = Run([tmp_path / "texts"], tmp_path / "v", shard_rows=20).embed(load_fake_model, remove)
    assert (summary.rows, summary.rejected) == (40, 1)


def test_a_large_file_is_another_by_its_time_at_the_end_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a very large one only its start and end are read. A node of a cluster may have a copy of another time."""
    monkeypatch.setattr("jina_embeddings.pipeline.sources._WHOLE_DIGEST_BYTES", 100)
    monkeypatch.setattr("jina_embeddings.pipeline.sources._SAMPLE_BYTES", 50)
    write_jsonl(tmp_path / "a.jsonl", "old")
    sources = survey([str(tmp_path / "a.jsonl")]).sources
    os.utime(tmp_path / "a.jsonl", (0, 0))
    unchanged.check_shard(sources)
    with pytest.raises(RunMismatchError):
        unchanged.check_all(sources)
    write_jsonl(tmp_path / "a.jsonl", "new")
    with pytest.raises(RunMismatchError):
        unchanged.check_shard(sources)


def test_sources_of_a_shard() -> None:
    counts = [3, 1, 8, 2, 6]
    plan = Plan([Source(str(number), "text", rows) for number, rows in enumerate(counts)], 4)
    first = {path: sum(counts[: int(path)]) for path in map(str, range(len(counts)))}
    for shard, (start, stop) in enumerate(pairwise([*range(0, 20, 4), 20])):
        rows = {str(n) for n, count in enumerate(counts) if first[str(n)] < stop and first[str(n)] + count > start}
        assert {source.path for source in plan.sources_of(shard)} == rows
