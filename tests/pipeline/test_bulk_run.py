"""`Run` and its folder: a run that differs is refused, progress is told, and one process at a time works on a share."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from deadly import dead_model, fake_model
from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import app
from jina_embeddings.errors import OptionError, RunBusyError, RunError, RunMismatchError
from jina_embeddings.pipeline import Fields, Form, Run, Share, drafts, status
from jina_embeddings.pipeline.drafts import remove_abandoned
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.manifest import Manifest, locked
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.sources import survey


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "row {n}", "title": "t{n}"}}\n' for n in range(10)))
    return Run([str(tmp_path / "rows.jsonl")], tmp_path / "v", Form(), Fields(keep=("title",)), shard_rows=4)


def work(run: Run, model: JinaEmbeddings) -> None:
    """Runs it in this process, which takes a tenth of the time."""
    folder = Folder.at(run.into)
    plan = Plan(survey(run.inputs, lines=run.lines).sources, run.shard_rows, run.fields)
    with locked(folder, run.share):
        Job(folder, plan, run.form, run.share).work(model, lambda *_: None)


def test_a_run_from_python(run: Run) -> None:
    told: list[Any] = []
    summary = run.embed(fake_model, lambda *message: told.append(message))
    assert (summary.rows, summary.rejected, summary.shards, summary.rows_this_time) == (10, 0, 3, 10)
    assert json.loads((Path(run.into) / "_summary.json").read_text())["rows"] == 10
    assert told[0][0] == "planned"
    assert (told[0][1].rows, told[0][1].shards_done) == (10, 0)
    assert [values[0].shard for name, *values in told if name == "committed"] == [0, 1, 2]
    table = pq.read_table(sorted(Path(run.into).glob("*.parquet")), columns=["title"])
    assert table["title"].to_pylist() == [f"t{n}" for n in range(10)]
    done = status(run.into)
    assert (done.rows_done, done.shards_done, done.model, done.task) == (10, 3, "fake", "retrieval")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shard_rows": 5}, "shard_rows was 4 and is 5"),
        ({"form": Form(task="code")}, "task was None and is code"),
        ({"form": Form(also=("int8",))}, "also was"),
        ({"form": Form(layout="npy")}, "layout was parquet and is npy"),
        ({"form": Form(truncate_dim=128)}, "truncate_dim was None and is 128"),
        ({"fields": Fields(text="title")}, "text was text and is title"),
    ],
)
def test_another_run_for_the_same_folder_is_refused_with_what_differs(
    run: Run, fake_model: JinaEmbeddings, change: dict[str, Any], says: str
) -> None:
    work(run, fake_model)
    with pytest.raises(RunMismatchError, match=says):
        replace(run, **change).embed(dead_model)


def test_other_inputs_for_the_same_folder_are_refused(run: Run, fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    work(run, fake_model)
    (tmp_path / "more.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(RunMismatchError, match=r"more\.jsonl is new"):
        replace(run, inputs=[*run.inputs, str(tmp_path / "more.jsonl")]).embed(dead_model)
    with pytest.raises(RunMismatchError, match=r"rows\.jsonl is not given any more"):
        replace(run, inputs=[str(tmp_path / "more.jsonl")]).embed(dead_model)
    (tmp_path / "rows.jsonl").write_text('{"text": "another"}\n')
    with pytest.raises(RunMismatchError, match=r"rows\.jsonl has changed"):
        run.embed(dead_model)


def test_another_model_for_the_same_folder_is_refused(run: Run, fake_model: JinaEmbeddings) -> None:
    work(run, fake_model)
    folder = Folder.at(run.into)
    manifest = Manifest.read(folder)
    assert manifest is not None
    other = {**manifest.made_by, "probe": [-number for number in manifest.made_by["probe"]], "revision": "abc"}
    with pytest.raises(RunMismatchError, match=r"revision was None and is abc; the model's vectors differ"):
        manifest.check_model(other, folder)


def test_a_folder_with_other_files_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunMismatchError, match="holds other files"):
        replace(run, into=tmp_path).embed(fake_model)
    with pytest.raises(OptionError, match="is a file"):
        replace(run, into=tmp_path / "rows.jsonl").embed(fake_model)
    with pytest.raises(OptionError, match="no folder is named"):
        replace(run, into="").embed(fake_model)


@pytest.mark.long
def test_one_at_a_time_works_on_a_folder_or_on_a_share(run: Run) -> None:
    folder = Folder.at(run.into)
    with locked(folder, Share()), pytest.raises(RunBusyError, match="`shard`"):
        run.embed(fake_model)
    with locked(folder, Share(1, 2)):
        for share in (Share(1, 2), Share()):
            with pytest.raises(RunBusyError):
                replace(run, share=share).embed(fake_model)
        assert replace(run, share=Share(2, 2)).embed(fake_model).rows == 4
    assert replace(run, share=Share(1, 2)).embed(fake_model).rows == 6
    assert status(run.into).shards_done == 3


def test_status_says_how_far_a_run_is(run: Run, fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        status(tmp_path)
    invoke = CliRunner().invoke
    assert invoke(app, ["status", str(tmp_path)]).exit_code == 2
    work(replace(run, share=Share(1, 2)), fake_model)
    result = invoke(app, ["status", str(run.into), "--json"])
    assert result.exit_code == 3
    facts = json.loads(result.stdout)
    assert (facts["rows_done"], facts["rows"], facts["shards_done"], facts["shards"]) == (6, 10, 2, 3)
    work(replace(run, share=Share(2, 2)), fake_model)
    result = invoke(app, ["status", str(run.into)])
    assert result.exit_code == 0
    assert "10 of 10 rows, 0 of them rejected" in result.stdout


def test_the_command_sums_up(run: Run) -> None:
    line = ["embed", *run.inputs, "--into", str(run.into), "--engine", "fake", "--shard-rows", "4", "--keep", "title"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["rows"] == 10
    assert "10 rows of 1 files in 3 shards" in result.stderr
    assert CliRunner().invoke(app, [*line, "--also", "int8"]).exit_code == 2


@pytest.mark.long
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_says_how_to_go_on(tmp_path: Path, sent: signal.Signals) -> None:
    (tmp_path / "lines.txt").write_text("".join(f"line {number}\n" for number in range(300_000)))
    # A shell may have started the tests in the background and with SIGINT ignored, or with nohup.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    code += "from jina_embeddings.cli import main; main()"
    line = [sys.executable, "-c", code, "embed", str(tmp_path / "lines.txt"), "--lines", "--into", str(tmp_path / "v")]
    line += ["--engine", "fake", "--shard-rows", "500"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "v" / "shard-000001.parquet").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "what is committed is kept: give the same command again to go on" in errors
    done = status(tmp_path / "v")
    assert 2 <= done.shards_done < done.shards == 600
    assert not list((tmp_path / "v").rglob("*.part"))


def test_ids_are_there_without_being_kept_and_other_names_of_the_run_are_refused(tmp_path: Path) -> None:
    record = {"text": "a", "id": "x", "url": "u", "kind": "k", "embedding": 1}
    (tmp_path / "rows.jsonl").write_text(json.dumps(record))
    run = Run([str(tmp_path / "rows.jsonl")], tmp_path / "v", fields=Fields(keep=("id", "url")))
    assert run.embed(fake_model).rejected == 0
    table = pq.read_table(tmp_path / "v").drop_columns("embedding")
    assert table.to_pylist() == [{"row": 0, "id": "x", "kind": "text", "url": "u", "error_code": None, "error": None}]
    for fields in (Fields(keep=("kind",)), Fields(keep=("embedding",)), Fields(id="url", keep=("id",))):
        with pytest.raises(OptionError, match="can't be kept: a run has a column of its own of that name"):
            replace(run, into=tmp_path / "other", fields=fields).embed(fake_model)
    assert not (tmp_path / "other").exists()


def test_little_is_begun_of_the_next_shard(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    """What a kill costs, beside the shard itself."""
    (tmp_path / "lines.txt").write_text("".join(f"line {number}\n" for number in range(2000)))
    plan = Plan(survey([str(tmp_path / "lines.txt")], lines=True).sources, 100)
    most = committed = 0

    def report(name: str, *values: Any) -> None:
        nonlocal most, committed
        if name == "begun":
            most = max(most, values[1] - committed)
        elif name == "committed":
            committed += values[0].rows

    Job(Folder.at(tmp_path / "v"), plan, Form(truncate_dim=128)).work(fake_model, report)
    assert committed == 2000
    assert 100 <= most <= 175


def test_a_draft_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two shares begin at once, and one tidies up."""
    real, calls = drafts._lock, 0

    def lock(file: Any, **options: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            remove_abandoned(tmp_path / "a")
            assert not list(tmp_path.iterdir())
        return real(file, **options)

    monkeypatch.setattr(drafts, "_lock", lock)
    Folder.at(tmp_path).write("a", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"whole"


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"format": 2}', '{"format": 2, "fields": {"keep": []}, "sources": [1]}']
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "_manifest.json").write_text(text)
    with pytest.raises(RunError, match=r"_manifest\.json is (damaged|no manifest of a run): "):
        status(tmp_path)
