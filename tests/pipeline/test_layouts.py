"""Layouts of a run's vectors: arrays with a fixed place for each row, and tables of Lance and LanceDB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import OptionError
from jina_embeddings.pipeline import Fields, Form, Share
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.layouts import HEADER_BYTES
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.sources import survey

TEXTS = [f"row {n}" for n in range(10)]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten rows, of which the fourth is bad."""
    lines = [f'{{"text": "{text}", "title": "t{n}"}}' if n != 3 else "bad" for n, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    return tmp_path / "rows.jsonl"


def work(model: JinaEmbeddings, rows: Path, form: Form, share: Share | None = None) -> Path:
    form.check()
    folder = rows.parent / "v"
    plan = Plan(survey([str(rows)]).sources, 4, Fields(keep=("title",)))
    Job(Folder.at(folder), plan, form, share or Share()).work(model, lambda *_: None)
    return folder


def expected(model: JinaEmbeddings) -> np.ndarray:
    vectors = np.array(model.encode_text(TEXTS, prompt_name="passage", truncate_dim=128))
    vectors[3] = np.nan
    return vectors


@pytest.mark.parametrize("layout", ["npy", "safetensors"])
def test_arrays_have_each_row_at_its_place(layout: str, rows: Path, fake_model: JinaEmbeddings) -> None:
    folder = work(fake_model, rows, Form(truncate_dim=128, also=("int8", "binary", "float16"), layout=layout))
    wanted = expected(fake_model)
    header = 128 if layout == "npy" else HEADER_BYTES
    for shard, start in enumerate((0, 4, 8)):
        path = folder / "_vectors" / f"{shard:06d}.embedding.{layout}"
        vectors = np.memmap(path, dtype="<f4", mode="r", offset=header).reshape(-1, 128)
        np.testing.assert_array_equal(vectors, wanted[start : start + 4])
        if layout == "npy":
            np.testing.assert_array_equal(np.load(path, mmap_mode="r"), vectors)
            bits = np.load(folder / "_vectors" / f"{shard:06d}.embedding_binary.npy")
            assert (bits.shape, bits.dtype) == ((len(vectors), 16), np.int8)
            assert not np.load(folder / "_vectors" / "000000.embedding_int8.npy")[3].any()
        else:
            from safetensors.numpy import load_file

            np.testing.assert_array_equal(load_file(path)["embedding"], vectors)
            halves = load_file(folder / "_vectors" / f"{shard:06d}.embedding_float16.safetensors")["embedding_float16"]
            np.testing.assert_array_equal(halves, wanted[start : start + 4].astype(np.float16))
    table = pq.read_table(folder)  # readers of Parquet ignore the other files of the folder
    assert table.column_names == ["row", "id", "kind", "title", "error_code", "error"]
    assert table["title"].to_pylist() == [f"t{n}" if n != 3 else None for n in range(10)]
    assert table["error_code"].to_pylist()[3] == "input_error"


def test_several_forms_are_what_each_would_be_alone(rows: Path, fake_model: JinaEmbeddings) -> None:
    also = ("float16", "ubinary", "base64", "multivector", "multivector-int8", "multivector-float16")
    folder = work(fake_model, rows, Form(also=also))
    table = pq.read_table(sorted(folder.glob("*.parquet")))
    good = [n for n in range(10) if n != 3]
    for column, options in (
        ("embedding", {}),
        ("embedding_ubinary", {"embedding_type": "ubinary"}),
        ("embedding_base64", {"embedding_type": "base64"}),
        ("embedding_multivector", {"return_multivector": True}),
        ("embedding_multivector_int8", {"return_multivector": True, "embedding_type": "int8"}),
    ):
        wanted = fake_model.encode_text([TEXTS[n] for n in good], prompt_name="passage", **options)
        found = table[column].to_pylist()
        assert found[3] is None
        for n, vector in zip(good, wanted, strict=True):
            if isinstance(vector, str):
                assert found[n] == vector
            else:
                np.testing.assert_array_equal(np.array(found[n], dtype=vector.dtype), vector)


def test_a_lance_table_is_there_when_the_last_share_is(rows: Path, fake_model: JinaEmbeddings) -> None:
    lance = pytest.importorskip("lance")
    form = Form(truncate_dim=128, also=("multivector-float16",), layout="lance")
    folder = work(fake_model, rows, form, Share(1, 2))
    with pytest.raises(ValueError, match="not found"):
        lance.dataset(str(folder / "vectors.lance"))
    work(fake_model, rows, form, Share(2, 2))
    dataset = lance.dataset(str(folder / "vectors.lance"))
    version = dataset.version
    table = dataset.to_table()
    assert table["row"].to_pylist() == list(range(10))
    wanted = expected(fake_model)
    for n, vector in enumerate(table["embedding"].to_pylist()):
        assert (vector is None) == (n == 3)
        assert vector is None or np.array_equal(np.array(vector, dtype=np.float32), wanted[n])
    # The same run again makes no new version, and adds no row.
    work(fake_model, rows, form)
    dataset = lance.dataset(str(folder / "vectors.lance"))
    assert (dataset.version, dataset.count_rows()) == (version, 10)
    import lancedb

    found = lancedb.connect(folder).open_table("vectors").search(wanted[7]).limit(1).to_list()
    assert found[0]["title"] == "t7"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (Form(layout="npz"), "unknown layout 'npz'; did you mean 'npy'"),
        (Form(layout="npy", multivector=True), "npy holds vectors of one length"),
        (Form(layout="safetensors", also=("base64",)), "safetensors holds vectors of one length"),
        (Form(also=("int9",)), "unknown embedding_type 'int9'; did you mean 'int8'"),
        (Form(also=("float",)), "asked for twice"),
        (Form(multivector=True, also=("multivector",)), "asked for twice"),
    ],
)
def test_impossible_forms_are_refused(form: Form, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        form.check()
