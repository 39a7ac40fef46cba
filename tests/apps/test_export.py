"""An index becomes the folder of a bulk run, and that an index again."""

from __future__ import annotations

from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.code import CodeSearch, Repository
from jina_embeddings.apps.documents import CutOptions
from jina_embeddings.apps.index import Index
from jina_embeddings.apps.index.store import TABLE, Store
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.cli import app
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import EmptyInputError, IndexMismatchError, OptionError, RunMismatchError
from jina_embeddings.pipeline import read_run, status
from jina_embeddings.types import MultivectorFormat


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.md").write_text(f"# Bread {number}\n\nBake it.\n\n# Tea\n\nPour {number} cups.\n")
    (folder / "rows.jsonl").write_text('{"text": "a row", "id": "r1", "language": ["en", "de"]}\n')
    return folder


def everything(index: Index) -> list[dict[str, object]]:
    """All rows, whatever order they are stored in."""
    rows = index.store.rows(index.store.order()["_rowid"].to_pylist())
    found: list[dict[str, object]] = rows.drop_columns("_rowid").to_pylist()
    return found


@pytest.mark.parametrize("layout", ["parquet", "npy", "safetensors", "lance"])
def test_every_layout_has_all_rows_and_vectors(
    layout: str, fake_model: JinaEmbeddings, notes: Path, tmp_path: Path
) -> None:
    if layout == "lance":
        pytest.importorskip("lance")
    index, _ = index_files([notes], tmp_path / "index", fake_model, dimension=128)
    assert index.export(tmp_path / "run", layout=layout, shard_rows=4) == len(index) == 11
    found = status(tmp_path / "run")
    assert (found.rows, found.rows_done, found.rejected, found.shards_done) == (11, 11, 0, 3)
    shards = list(read_run(tmp_path / "run"))
    ids = [name for rows in shards for name in rows.table["id"].to_pylist()]
    assert ids == index.store.order()["id"].to_pylist()
    vectors = dict(zip(ids, np.concatenate([rows.vectors for rows in shards]), strict=True))
    for row in everything(index):
        np.testing.assert_array_equal(vectors[str(row["id"])], row["vector"])


@pytest.mark.parametrize("multivector", [None, "float16", "int8", "binary"])
def test_an_exported_index_comes_back_whole(
    multivector: MultivectorFormat | None,
    fake_model: JinaEmbeddings,
    fake_engine: FakeEngine,
    notes: Path,
    tmp_path: Path,
) -> None:
    pooling = 2 if multivector else None
    given = CutOptions(metadata={"team": "red"})
    index, _ = index_files(
        [notes],
        tmp_path / "a.index",
        fake_model,
        dimension=128,
        multivector=multivector,
        token_pooling=pooling,
        options=given,
    )
    index.export(tmp_path / "run", shard_rows=4)
    before = fake_engine.num_inputs
    again, summary = index_files([tmp_path / "run"], tmp_path / "b.index", fake_model)
    # The fixed text by which models are compared.
    assert fake_engine.num_inputs - before <= 2
    assert (summary.reused, summary.embedded, summary.failures) == (11, 0, [])
    assert everything(again) == everything(index)
    assert again.store.fingerprint == index.store.fingerprint
    # What the other index knew of the files holds in this one.
    _, later = index_files([notes], tmp_path / "b.index", fake_model)
    assert (later.unchanged, later.documents) == (6, 0)


def test_an_index_elsewhere_names_the_same_files(fake_model: JinaEmbeddings, notes: Path, tmp_path: Path) -> None:
    index, _ = index_files([notes], tmp_path / "a.index", fake_model)
    index.export(tmp_path / "run")
    (tmp_path / "far").mkdir()
    again, _ = index_files([tmp_path / "run"], tmp_path / "far/b.index", fake_model)
    paths = {hit.passage.path for hit in again.search("bread", limit=20)}
    assert paths == {str(path) for path in notes.iterdir()}
    _, later = index_files([notes], tmp_path / "far/b.index", fake_model)
    assert (later.embedded, len(again)) == (0, 11)


def test_a_run_goes_on_and_refuses_an_index_that_has_changed(
    fake_model: JinaEmbeddings, notes: Path, tmp_path: Path
) -> None:
    index, _ = index_files([notes], tmp_path / "index", fake_model)
    index.export(tmp_path / "run", shard_rows=4)
    (tmp_path / "run/shard-000001.parquet").unlink()
    kept = (tmp_path / "run/shard-000000.parquet").stat().st_ino
    assert status(tmp_path / "run").shards_done == 2
    index.export(tmp_path / "run", shard_rows=4)
    assert status(tmp_path / "run").shards_done == 3
    assert (tmp_path / "run/shard-000000.parquet").stat().st_ino == kept
    (notes / "0.md").write_text("something else")
    index, _ = index_files([notes], tmp_path / "index", fake_model)
    with pytest.raises(RunMismatchError, match="index has changed"):
        index.export(tmp_path / "run", shard_rows=4)
    with pytest.raises(RunMismatchError, match="holds other files"):
        index.export(notes)


def test_what_an_index_lacks_is_rejected_and_missed(fake_model: JinaEmbeddings, notes: Path, tmp_path: Path) -> None:
    index, _ = index_files([notes], tmp_path / "index", fake_model, dimension=128)
    rows = index.store.rows(index.store.order()["_rowid"].to_pylist()).drop_columns("_rowid")
    lost = rows.slice(1, 1)
    index.remove(str(lost["path"][0]))
    nothing = pa.array([[np.nan] * 128], rows.schema.field("vector").type)
    lost = lost.set_column(lost.schema.get_field_index("vector"), rows.schema.field("vector"), nothing)
    table = lancedb.connect(tmp_path / "index").open_table(TABLE)
    table.add(pa.concat_tables([rows.slice(0, 1), lost]), on_bad_vectors="null")
    index.export(tmp_path / "run")
    assert status(tmp_path / "run").rejected == 1
    again, summary = index_files([tmp_path / "run"], tmp_path / "b.index", fake_model)
    assert len(again) == 10
    assert [str(failure.error) for failure in summary.failures] == [
        "passage 2 of 2 was not in the index that was exported"
    ]
    # Its document is read again.
    again, later = index_files([notes], tmp_path / "b.index", fake_model)
    assert (later.documents, later.embedded, len(again)) == (1, 1, 11)


def test_a_code_index_stays_one(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/a.py").write_text("def read_file(path):\n    return open(path).read()\n")
    search = CodeSearch.open(tmp_path / "code.index", fake_model, create=True)
    search.update(Repository(tmp_path / "repo"))
    search.index.export(tmp_path / "run")
    index_files([tmp_path / "run"], tmp_path / "again.index", fake_model)
    again = CodeSearch.open(tmp_path / "again.index", fake_model)
    assert [hit.id for hit in again.search("read a file")] == [hit.id for hit in search.search("read a file")]


def test_multivectors_of_another_form_are_refused(fake_model: JinaEmbeddings, notes: Path, tmp_path: Path) -> None:
    index, _ = index_files([notes], tmp_path / "index", fake_model, multivector="binary")
    index.export(tmp_path / "run")
    with pytest.raises(IndexMismatchError, match="keeps multi-vectors in int8, and the run has none as precise"):
        index_files([tmp_path / "run"], tmp_path / "other", fake_model, multivector="int8")
    with pytest.raises(OptionError, match="npy holds vectors of one length"):
        index.export(tmp_path / "arrays", layout="npy")
    assert index.export(tmp_path / "arrays", layout="npy", multivector=False) == 11
    empty = Index.open(tmp_path / "empty", fake_model, create=True)
    with pytest.raises(EmptyInputError, match="is empty"):
        empty.export(tmp_path / "nothing")


def test_the_command_exports_and_indexes_again(fake_model: JinaEmbeddings, notes: Path, tmp_path: Path) -> None:
    index_files([notes], tmp_path / "index", fake_model, multivector="int8")
    run = str(tmp_path / "run")
    result = CliRunner().invoke(app, ["index", "export", str(tmp_path / "index"), run, "--shard-rows", "5"])
    assert result.exit_code == 0, result.stderr
    assert "11 passages" in result.stderr
    assert CliRunner().invoke(app, ["status", run]).exit_code == 0
    # The fake_model is the run's.
    result = CliRunner().invoke(app, ["index", run, "--into", str(tmp_path / "again"), "--engine", "fake"])
    assert result.exit_code == 0, result.stderr
    assert Store.open(str(tmp_path / "again")).fingerprint.multivector == "int8"
