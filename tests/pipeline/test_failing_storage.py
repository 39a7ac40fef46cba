"""What goes wrong where a run is stored ends it at once with its reason, and the same run goes on later."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deadly import WORD, dead_model, fake_model, raising_model
from failing_stores import failing_load, with_failing_writes, with_small_files
from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import EngineDeadError, OptionError, RunError
from jina_embeddings.pipeline import Fields, Form, Run, status
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.shards import shard_name
from jina_embeddings.pipeline.supervise import MAX_DEATHS_IN_VAIN


def rows(folder: Path, num_rows: int = 12) -> str:
    (folder / "rows.jsonl").write_text("".join(f'{{"text": "row {n}"}}\n' for n in range(num_rows)))
    return str(folder / "rows.jsonl")


@pytest.mark.parametrize(
    ("load", "says", "done"),
    [
        (with_small_files, r"shard-000000.parquet can't be written: File too large. Make room in ", 0),
        (partial(with_failing_writes, error=OSError(28, "No space left on device")), "No space left on device", 1),
        (partial(with_failing_writes, error=pa.ArrowInvalid("no column for it")), "ArrowInvalid: no column for it", 1),
        (partial(with_failing_writes, error=ZeroDivisionError()), r"written: ZeroDivisionError\. ", 1),
    ],
)
def test_what_cannot_be_written_ends_the_run_at_once(
    tmp_path: Path, load: Callable[[Path], JinaEmbeddings], says: str, done: int
) -> None:
    run = Run([rows(tmp_path)], tmp_path / "v", shard_rows=4)
    with pytest.raises(RunError, match=says):
        run.embed(partial(load, tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "began\n"
    assert status(run.into).shards_done == done
    assert not [name for name in os.listdir(tmp_path / "v") if name.endswith(".part")]
    summary = run.embed(fake_model)
    assert (summary.rows, summary.rows_this_time, summary.rejected) == (12, 12 - 4 * done, 0)


def test_an_exception_of_the_loader_ends_the_run_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has failed: ZeroDivisionError: nothing to divide by"):
        Run([rows(tmp_path)], tmp_path / "v").embed(partial(failing_load, tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "began\n"


def test_a_row_that_the_engine_raises_at_is_rejected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "{WORD if n == 5 else n}"}}\n' for n in range(12)))
    summary = Run([str(tmp_path / "rows.jsonl")], tmp_path / "v", shard_rows=12).embed(raising_model)
    assert (summary.rows, summary.rejected) == (12, 1)
    assert summary.restarts == len(caplog.messages)
    assert "has ended by ZeroDivisionError: by a word" in caplog.messages[0]


@pytest.mark.long
def test_an_engine_that_raises_at_every_row_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(f'{{"text": "{WORD}"}}\n' * 100)
    with pytest.raises(EngineDeadError, match=rf"ended {MAX_DEATHS_IN_VAIN} times .* by ZeroDivisionError: by a word"):
        Run([str(tmp_path / "rows.jsonl")], tmp_path / "v").embed(raising_model)


def test_a_shard_that_cannot_be_read_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_model: JinaEmbeddings
) -> None:
    run = Run([rows(tmp_path)], tmp_path / "v", shard_rows=4)
    job, _ = run._job(Folder.at(run.into))
    job.work(fake_model, lambda *_: None)
    real = Path.open

    def open_(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == shard_name(1):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_)
    with pytest.raises(PermissionError):
        run.embed(dead_model)


@pytest.mark.parametrize("type_", [pa.list_view(pa.int32()), pa.decimal32(5, 2), pa.list_(pa.list_view(pa.int8()))])
def test_what_lance_has_no_type_for_is_kept_as_text(tmp_path: Path, type_: Any, fake_model: JinaEmbeddings) -> None:
    lance = pytest.importorskip("lance")
    table = pa.table({"text": ["a", "b"], "odd": pa.nulls(2, type_)})
    pq.write_table(table, tmp_path / "rows.parquet")
    run = Run([str(tmp_path / "rows.parquet")], tmp_path / "v", Form(layout="lance"), Fields(keep=("odd",)))
    job, _ = run._job(Folder.at(run.into))
    job.work(fake_model, lambda *_: None)
    found = lance.dataset(str(tmp_path / "v" / "vectors.lance")).to_table()
    assert found["odd"].type == pa.string()
    assert len(found) == 2


@pytest.mark.parametrize("name", ["a.b", "a`b", "_rowid", ""])
def test_what_lance_has_no_name_for_is_refused_before_the_run(tmp_path: Path, name: str) -> None:
    pytest.importorskip("lance")
    pq.write_table(pa.table({"text": ["a"], name: ["b"]}), tmp_path / "rows.parquet")
    run = Run([str(tmp_path / "rows.parquet")], tmp_path / "v", Form(layout="lance"), Fields(keep=(name,)))
    with pytest.raises(OptionError, match=r"can't be kept in a Lance dataset: .*: rename it"):
        run.embed(dead_model)
    assert not (tmp_path / "v" / "_manifest.json").exists()
