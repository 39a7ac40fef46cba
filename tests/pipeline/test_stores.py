"""Runs from and into an object store: the same rows as on a disk, and nothing half written under a final name."""

from __future__ import annotations

import errno
import gzip
import io
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from PIL import Image
from typer.testing import CliRunner

from deadly import fake_model as load_fake_model
from failing_stores import with_small_files
from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import app
from jina_embeddings.errors import DependencyError, InputError, RunError, RunMismatchError
from jina_embeddings.pipeline import Fields, Form, Run, status, stores
from jina_embeddings.pipeline.folder import Folder, LocalFolder, StoreDraft
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.manifest import Manifest
from jina_embeddings.pipeline.plan import Plan, PlanReader
from jina_embeddings.pipeline.rows import Row
from jina_embeddings.pipeline.shards import shard_name
from jina_embeddings.pipeline.sources import survey
from jina_embeddings.pipeline.storing import storing
from jina_embeddings.pipeline.unchanged import check_all, check_shard

pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A bucket of an S3 server of this machine; the file system that sees it."""
    # Imported here, since vLLM fails in a process forked from one with Flask: it asks every object of every module.
    server = pytest.importorskip("moto.server")
    with pytest.MonkeyPatch.context() as patch:
        moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        host, port = moto.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        stores._filesystem.cache_clear()
        filesystem, _ = stores.store_of("s3://corpus")
        filesystem.mkdir("corpus")
        yield filesystem
        moto.stop()
    stores._filesystem.cache_clear()


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30, 30), colour).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def inputs(s3: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The same files in the bucket and in a folder."""
    folder = tmp_path_factory.mktemp("inputs")
    table = pa.table({"text": [f"row {n}" for n in range(250)], "title": [f"t{n}" for n in range(250)]})
    pq.write_table(table, folder / "a.parquet", row_group_size=100)
    lines = [f'{{"text": "line {n}"}}' for n in range(90)] + ["bad", '{"image": "red.png"}', '{"image": "gone.png"}']
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (folder / "c.md").write_text("# A file of text\n")
    (folder / "red.png").write_bytes(png("red"))
    for path in folder.iterdir():
        s3.put_file(str(path), f"corpus/in/{path.name}")
    return "s3://corpus/in", folder


def work(model: JinaEmbeddings, paths: list[str], into: Any, form: Form | None = None) -> Job:
    plan = Plan(survey(paths).sources, 100, Fields(keep=("title",)))
    job = Job(Folder.at(into), plan, form or Form())
    job.work(model, lambda *_: None)
    return job


def test_rows_of_a_store_are_those_of_a_folder(inputs: tuple[str, Path]) -> None:
    address, folder = inputs
    plans = [Plan(survey([str(place)]).sources, 100) for place in (address, folder)]
    there, here = ([*PlanReader(plan).read(0, plan.num_rows)] for plan in plans)
    assert len(there) == len(here) == 250 + 93 + 1 + 1
    for row, other in zip(there, here, strict=True):
        assert type(row) is type(other) or "gone.png" in str(other)
        assert row.id.rpartition("/")[2] == other.id.rpartition("/")[2]
    assert there[341].input == {"image": png("red")}  # type: ignore[union-attr]
    assert "there is no s3://corpus/in/gone.png" in str(there[342].error)  # type: ignore[union-attr]
    (parquet,) = survey([f"{address}/*.parquet"]).sources
    assert (parquet.rows, len(parquet.digest)) == (250, 32)


@pytest.mark.parametrize("layout", ["parquet", "npy"])
def test_a_run_into_a_store_is_the_run_into_a_folder(
    s3: Any, inputs: tuple[str, Path], tmp_path: Path, fake_model: JinaEmbeddings, layout: str
) -> None:
    _, folder = inputs
    into = f"s3://corpus/{layout}"
    form = Form(truncate_dim=128, layout=layout)
    work(fake_model, [str(folder)], into, form)
    work(fake_model, [str(folder)], tmp_path / "v", form)
    for path in (tmp_path / "v").rglob("*[0-9]*"):
        assert s3.cat_file(f"corpus/{layout}/{path.relative_to(tmp_path / 'v')}") == path.read_bytes()
    found = status(into)
    assert (found.rows_done, found.shards_done, found.rejected) == (345, 4, 2)
    # The same run again writes nothing; another one is refused.
    before = s3.info(f"corpus/{layout}/{shard_name(0)}")["LastModified"]
    work(fake_model, [str(folder)], into, form)
    assert s3.info(f"corpus/{layout}/{shard_name(0)}")["LastModified"] == before
    with pytest.raises(RunMismatchError, match="truncate_dim was 128 and is None"):
        Run([str(folder)], into, Form(layout=layout), Fields(keep=("title",)), shard_rows=100).embed(load_fake_model)


def test_an_exception_in_the_middle_of_a_shard_leaves_nothing_under_its_name(
    s3: Any, inputs: tuple[str, Path], fake_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = inputs
    into, calls = "s3://corpus/broken", 0
    real = StoreDraft._put

    def fails(draft: StoreDraft, mode: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:  # after the manifest and the first shard: the second one's own file
            raise OSError("the store is gone")
        real(draft, mode)

    monkeypatch.setattr(StoreDraft, "_put", fails)
    with pytest.raises(RunError, match="the store is gone"):
        work(fake_model, [str(folder)], into)
    names = Folder.at(into).names()
    assert shard_name(0) in names
    assert shard_name(1) not in names
    monkeypatch.undo()
    job = work(fake_model, [str(folder)], into)
    assert sorted(job.done(Manifest.read(job.folder))) == [0, 1, 2, 3]


def test_pages_of_a_stored_pdf_are_those_of_the_file(s3: Any, tmp_path: Path) -> None:
    pages = [Image.new("RGB", (60, 60), colour) for colour in ("red", "green", "blue")]
    pages[0].save(tmp_path / "paper.pdf", save_all=True, append_images=pages[1:])
    s3.put_file(str(tmp_path / "paper.pdf"), "corpus/papers/paper.pdf")
    plan = Plan(survey(["s3://corpus/papers/"]).sources, 100)
    reader = PlanReader(plan)
    rows = list(reader.read(0, 3))
    reader.close()
    assert [row.id for row in rows] == [f"s3://corpus/papers/paper.pdf#page={number}" for number in (1, 2, 3)]
    copies = {Path(str(row.input["image"]).partition("#")[0]) for row in rows if isinstance(row, Row)}
    with JinaEmbeddings(engine="fake") as model:
        found = model.encode([row.input for row in rows if isinstance(row, Row)])
        wanted = model.encode_image([f"{tmp_path / 'paper.pdf'}#page={number}" for number in (1, 2, 3)])
    np.testing.assert_array_equal(found, wanted)
    (copy,) = copies
    assert copy.exists(), "a page that waits is still there"
    del rows
    assert not copy.exists()


def test_the_first_of_two_manifests_stays(s3: Any) -> None:
    folder = Folder.at("s3://corpus/two")
    for text in (b"first", b"second"):
        draft = folder.draft("_manifest.json")
        draft.file.write(text)
        draft.commit_new()
        draft.discard()
    assert folder.read("_manifest.json") == b"first"


@pytest.mark.long
def test_the_command_writes_into_a_store(s3: Any, inputs: tuple[str, Path]) -> None:
    line = ["embed", inputs[0], "--into", "s3://corpus/command", "--engine", "fake", "--truncate-dim", "128"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 3, result.stderr
    result = CliRunner().invoke(app, ["status", "s3://corpus/command"])
    assert (result.exit_code, "345 of 345 rows, 2 of them rejected" in result.stdout) == (0, True)
    with s3.open(f"corpus/command/{shard_name(0)}") as file:
        vectors = np.stack(pq.read_table(file)["embedding"].to_numpy(zero_copy_only=False)[:300])
    assert vectors.shape == (300, 128)


def test_a_store_without_its_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(scheme: str) -> Any:
        raise ImportError

    monkeypatch.setattr(fsspec, "filesystem", missing)
    stores._filesystem.cache_clear()
    with pytest.raises(DependencyError, match="pip install s3fs"):
        stores.store_of("s3://bucket")
    monkeypatch.undo()
    stores._filesystem.cache_clear()
    with pytest.raises(InputError, match="no store that fsspec knows"):
        stores.store_of("nowhere://bucket")


@pytest.mark.parametrize("num_files", [3, 20])
def test_an_object_that_is_replaced_during_a_run_is_named(s3: Any, num_files: int) -> None:
    folder = f"corpus/replaced{num_files}"
    for number in range(num_files):
        s3.pipe_file(f"{folder}/{number:02}.txt", b"old")
    sources = survey([f"s3://{folder}"]).sources
    check_shard(sources)
    check_all(sources)
    # By another client: ours would forget what it has listed.
    type(s3)(skip_instance_cache=True).pipe_file(f"{folder}/01.txt", b"new")
    if num_files == 3:
        with pytest.raises(RunMismatchError, match=r"01\.txt has changed"):
            check_shard(sources)
    with pytest.raises(RunMismatchError, match=r"01\.txt has changed"):
        check_all(sources)


@pytest.mark.long
@pytest.mark.usefixtures("s3")
def test_a_full_disk_for_temporary_files_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "row {n}"}}\n' for n in range(20)))
    run = Run([str(tmp_path / "rows.jsonl")], "s3://corpus/full")
    before = sorted(Path(tempfile.gettempdir()).glob("jina-embeddings-*"))
    says = f"File too large. Make room in {tempfile.gettempdir()} for temporary files, or set TMPDIR to another folder"
    with pytest.raises(RunError, match=says):
        run.embed(partial(with_small_files, tmp_path / "log"))
    assert sorted(Path(tempfile.gettempdir()).glob("jina-embeddings-*")) == before
    assert status(run.into).shards_done == 0
    assert run.embed(load_fake_model).rows == 20


def test_without_a_folder_for_temporary_files_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_folder(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    for name in ("mkstemp", "gettempdir"):
        monkeypatch.setattr(tempfile, name, no_folder)
    folder = Folder.at("memory://corpus/v")
    with pytest.raises(RunError, match="Set TMPDIR to a folder that can be written to"), storing("it", folder):
        folder.draft("a")


def test_a_file_address_is_a_folder_of_this_machine(tmp_path: Path) -> None:
    assert Folder.at(f"file://{tmp_path}/a b") == LocalFolder(tmp_path / "a b")
    assert Folder.at(f"local://{tmp_path}") == LocalFolder(tmp_path)


def test_folders_are_made_in_a_store_that_has_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Remote(LocalFileSystem):  # type: ignore[misc]
        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.rpartition("://")[2]

    monkeypatch.setattr(stores, "_filesystem", lambda _: Remote())
    Folder.at(f"sftp://{tmp_path}/new/v").write("_rejects/0.jsonl", b"whole")
    assert (tmp_path / "new" / "v" / "_rejects" / "0.jsonl").read_bytes() == b"whole"
    with pytest.raises(FileNotFoundError):
        Folder.at(f"s3://{tmp_path}/nobucket").write("a", b"whole")
