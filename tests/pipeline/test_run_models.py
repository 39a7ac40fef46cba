"""Which model a run was made with: another is refused when all is done as when something is left, and the same is known
by another name, without being loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from checkpoint_files import copy_of, edit_tensors
from deadly import fake_code_model, fake_model
from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import app
from jina_embeddings.errors import OptionError, RunMismatchError
from jina_embeddings.pipeline import Form, Run
from jina_embeddings.pipeline import run as bulk
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.manifest import Manifest
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.sources import survey

CheckpointMaker = Callable[..., Path]


@pytest.fixture
def folder(checkpoint: CheckpointMaker, tmp_path: Path) -> Path:
    return copy_of(checkpoint(), tmp_path)


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """A run that the checkpoint in `folder` has finished; its shards are what no test here reads."""
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    run = Run([str(tmp_path / "rows.jsonl")], tmp_path / "v", Form(), shard_rows=1)
    plan = Plan(survey(run.inputs).sources, run.shard_rows, run.fields)
    with JinaEmbeddings(folder, engine="torch") as model:
        Job(Folder.at(run.into), plan, run.form).work(model, lambda *_: None)
    return run


@pytest.fixture(params=["finished", "unfinished"])
def either(run: Run, request: pytest.FixtureRequest) -> Run:
    if request.param == "unfinished":
        (Path(run.into) / "shard-000001.parquet").unlink()
    return run


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started that would load a model."""

    def run_supervised(*_: object) -> int:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(bulk, "run_supervised", run_supervised)


def change_weights(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        edit_tensors(path, lambda tensors: tensors.update({name: tensor * 0.5 for name, tensor in tensors.items()}))


@pytest.mark.usefixtures("unloaded")
def test_another_model_is_refused_without_being_loaded(either: Run, folder: Path, tmp_path: Path) -> None:
    other = copy_of(folder, tmp_path / "other")
    change_weights(other)
    says = rf"model was .*{folder.name} and is .*other.*Embed with what the run was begun with"
    for name in (other, str(other)):
        with pytest.raises(RunMismatchError, match=says):
            either.embed(partial(JinaEmbeddings, name, engine="torch"))
    with pytest.raises(RunMismatchError, match="is someone/elses-model"):
        either.embed(partial(JinaEmbeddings, "someone/elses-model"))
    with pytest.raises(RunMismatchError, match="is fake"):
        either.embed(partial(JinaEmbeddings, engine="fake"))


@pytest.mark.usefixtures("unloaded")
def test_other_weights_in_the_same_folder_are_refused(either: Run, folder: Path) -> None:
    change_weights(folder)
    with pytest.raises(RunMismatchError, match=f"the weights of {folder} have changed"):
        either.embed(partial(JinaEmbeddings, folder, engine="torch"))


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_pixels": 100_000}, "max_pixels was None and is 100000"),
        ({"normalize": False}, "normalize was True and is False"),
        ({"task": "code"}, "task was retrieval and is code"),
    ],
)
def test_options_that_change_vectors_are_refused(either: Run, folder: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(RunMismatchError, match=says):
        either.embed(partial(JinaEmbeddings, folder, engine="torch", **options))
    with pytest.raises(OptionError, match="did you mean 'max_pixels'"):
        either.embed(partial(JinaEmbeddings, folder, engine="torch", max_pixel=1))


@pytest.mark.usefixtures("unloaded")
def test_a_finished_run_knows_its_model_by_another_path(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    for name in (folder, copy, f"./copy/{copy.name}", f"copy/../copy/{copy.name}"):
        summary = run.embed(partial(JinaEmbeddings, name, engine="torch", dtype="bfloat16"))
        assert (summary.rows, summary.rows_this_time) == (2, 0)


@pytest.mark.long
def test_an_unfinished_run_goes_on_with_its_model_by_another_path(run: Run, folder: Path, tmp_path: Path) -> None:
    (Path(run.into) / "shard-000001.parquet").unlink()
    copy = copy_of(folder, tmp_path / "copy")
    assert run.embed(partial(JinaEmbeddings, copy, engine="torch")).rows_this_time == 1


@pytest.mark.long
def test_a_model_that_a_function_makes_is_loaded_to_be_compared(run: Run) -> None:
    with pytest.raises(RunMismatchError, match="is fake"):
        run.embed(fake_model)
    done = replace(run, into=Path(run.into) / "fake")
    assert done.embed(fake_model).rows_this_time == 2
    assert done.embed(fake_model).rows_this_time == 0
    with pytest.raises(RunMismatchError, match="task was retrieval and is code"):
        done.embed(fake_code_model)


@pytest.mark.long
def test_a_manifest_without_a_digest_compares_vectors_where_names_differ(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """As versions before wrote it."""
    path = Path(run.into) / "_manifest.json"
    fields = json.loads(path.read_text())
    del fields["made_by"]["checkpoint"], fields["made_by"]["settings"]
    path.write_text(json.dumps(fields))
    for shard in Path(run.into).glob("shard-*"):
        shard.unlink()  # of a run with another digest now
    assert run.embed(partial(JinaEmbeddings, folder, engine="torch")).rows_this_time == 2
    copy = copy_of(folder, tmp_path / "copy")
    assert run.embed(partial(JinaEmbeddings, copy, engine="torch")).rows_this_time == 0
    manifest = Manifest.read(Folder.at(run.into))
    assert manifest is not None
    assert not manifest.check_unloaded({"model": "another", "revision": None}, Folder.at(run.into))


def test_the_command_refuses_another_model_when_all_is_done(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n')
    line = ["embed", str(tmp_path / "rows.jsonl"), "--into", str(tmp_path / "v"), "--engine", "fake"]
    assert CliRunner().invoke(app, line).exit_code == 0
    assert CliRunner().invoke(app, line).exit_code == 0
    result = CliRunner().invoke(app, [*line, "--option", "normalize=false"])
    assert result.exit_code == 2
    assert "normalize was True and is False" in result.stderr
    result = CliRunner().invoke(app, [*line[:-2], "--model", "pocket"])
    assert result.exit_code == 2
    assert "model was fake and is pocket" in result.stderr
