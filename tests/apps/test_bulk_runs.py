"""Index, dedup and paraphrases take the vectors of a bulk run as they are: nothing is embedded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.cli import app
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import IndexMismatchError, InputError, RunError
from jina_embeddings.pipeline import Fields, Form, Share
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.reading import read_run
from jina_embeddings.pipeline.sources import survey

TEXTS = ["a cat sleeps", "a dog barks", "bad", "a cat sleeps", "the market fell", "the market fell today", "a tree"]


def run_of(model: JinaEmbeddings, folder: Path, form: Form | None = None, share: Share | None = None) -> str:
    lines = [f'{{"text": "{text}", "language": "en"}}' if text != "bad" else text for text in TEXTS]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    plan = Plan(survey([str(folder / "rows.jsonl")]).sources, 3, Fields(keep=("text", "language")))
    job = Job(Folder.at(folder / "v"), plan, form or Form(truncate_dim=128), share or Share())
    job.work(model, lambda *_: None)
    return str(folder / "v")


@pytest.mark.parametrize("layout", ["parquet", "npy", "safetensors", "lance"])
def test_rows_and_vectors_of_every_layout(layout: str, fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    if layout == "lance":
        pytest.importorskip("lance")
    folder = run_of(fake_model, tmp_path, Form(truncate_dim=128, layout=layout))
    found = list(read_run(folder))
    good = [text for text in TEXTS if text != "bad"]
    assert [text for rows in found for text in rows.table["text"].to_pylist()] == good
    vectors = np.concatenate([rows.vectors for rows in found])
    np.testing.assert_array_equal(vectors, fake_model.encode_text(good, prompt_name="passage", truncate_dim=128))


def test_an_index_takes_the_vectors_of_a_run(
    fake_model: JinaEmbeddings, fake_engine: FakeEngine, tmp_path: Path
) -> None:
    folder = run_of(fake_model, tmp_path)
    (tmp_path / "note.md").write_text("a note beside it")
    index, _ = index_files([tmp_path / "note.md"], tmp_path / "index", fake_model, dimension=128)
    before = fake_engine.num_inputs
    index, summary = index_files([folder], tmp_path / "index", fake_model, dimension=128)
    # Nothing but the fixed texts by which models are compared.
    assert fake_engine.num_inputs - before <= 2
    assert (summary.embedded, summary.reused, summary.documents, summary.removed) == (0, 6, 3, 0)
    assert len(index) == 7
    (hit,) = index.search("a dog barks", limit=1, filters={"language": "en"})
    assert (hit.passage.text, hit.passage.metadata["id"]) == ("a dog barks", f"{tmp_path / 'rows.jsonl'}:2")
    _, again = index_files([folder], tmp_path / "index", fake_model, dimension=128)
    assert (again.unchanged, again.reused) == (3, 0)


def test_an_index_of_another_kind_refuses_a_run(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    folder = run_of(fake_model, tmp_path)
    with pytest.raises(IndexMismatchError, match="dimension is 128 in the run and 256 in the index"):
        index_files([folder], tmp_path / "index", fake_model, dimension=256)
    with pytest.raises(IndexMismatchError, match="task is retrieval in the run and code in the index"):
        index_files([folder], tmp_path / "code", fake_model, dimension=128, task="code")


def test_a_run_that_is_not_finished_or_of_another_form_is_refused(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    folder = run_of(fake_model, tmp_path, share=Share(1, 3))
    with pytest.raises(RunError, match="has 1 of 3 shards"):
        list(read_run(folder))
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="has multi-vectors"):
        list(read_run(run_of(fake_model, tmp_path / "other", Form(multivector=True))))
    with pytest.raises(RunError, match="holds no run"):
        list(read_run(tmp_path))


def test_dedup_and_paraphrases_read_a_run(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    folder = run_of(fake_model, tmp_path)
    # An engine that isn't there: no model is loaded.
    result = CliRunner().invoke(app, ["dedup", folder, "--threshold", "0.99", "--engine", "vllm", "--device", "none"])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("a cat sleeps") == 2
    assert "1 of 6" in result.stderr
    result = CliRunner().invoke(app, ["paraphrases", folder, "--engine", "vllm", "--device", "none"])
    assert result.exit_code == 0, result.stderr
    assert "a cat sleeps\ta cat sleeps" in result.stdout
