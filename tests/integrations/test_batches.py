"""`EmbedBatch`: tables in, tables with vectors out; by itself and as an actor of Ray Data."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import InputError
from jina_embeddings.integrations.batches import EmbedBatch


def test_a_bad_row_has_no_vector_and_says_why(fake_model: JinaEmbeddings) -> None:
    embed = EmbedBatch("body", engine="fake", truncate_dim=128)
    table = embed(pa.table({"body": ["one", None, "three"], "year": [1, 2, 3]}))
    assert table.column_names == ["body", "year", "embedding", "error"]
    vectors = table["embedding"].to_pylist()
    assert vectors[1] is None
    wanted = fake_model.encode_text(["one", "three"], prompt_name="passage", truncate_dim=128)
    np.testing.assert_array_equal(np.array([vectors[0], vectors[2]], dtype=np.float32), wanted)
    errors = table["error"].to_pylist()
    assert (errors[0], errors[2]) == (None, None)
    assert "NoneType" in errors[1]
    assert embed(table.slice(0, 0).select(["body"])).num_rows == 0
    with pytest.raises(InputError, match="no column 'body'"):
        embed(pa.table({"text": ["a"]}))


def test_images_as_datasets_stores_them(fake_model: JinaEmbeddings) -> None:
    file = io.BytesIO()
    Image.new("RGB", (60, 60), "teal").save(file, "png")
    cells = [{"bytes": file.getvalue(), "path": None}, {"bytes": b"no image", "path": None}]
    table = EmbedBatch("image", image=True, engine="fake")(pa.table({"image": cells}))
    vectors = table["embedding"].to_pylist()
    np.testing.assert_array_equal(np.array(vectors[0], dtype=np.float32), fake_model.encode_image(file.getvalue()))
    assert vectors[1] is None


@pytest.mark.long
def test_as_an_actor_of_ray_data(fake_model: JinaEmbeddings) -> None:
    ray = pytest.importorskip("ray")
    data = pytest.importorskip("ray.data")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        rows = data.from_arrow(pa.table({"text": [f"row {n}" for n in range(60)]})).repartition(3)
        done = rows.map_batches(
            EmbedBatch,
            fn_constructor_kwargs={"engine": "fake", "truncate_dim": 128},
            batch_format="pyarrow",
            batch_size=20,
            compute=data.ActorPoolStrategy(size=1),
        )
        found = {record["text"]: record["embedding"] for record in done.take_all()}
    finally:
        ray.shutdown()
    texts = sorted(found)
    wanted = fake_model.encode_text(texts, prompt_name="passage", truncate_dim=128)
    np.testing.assert_array_equal(np.stack([found[text] for text in texts]), wanted)


def test_the_way_into_daft_of_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("daft", reason="needs daft, which is not among the packages of the tests: 150 MB")
    page = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python no-run\n(import daft.*?)```", page, re.DOTALL)
    exec(block, {"__name__": "docs"})
    assert capsys.readouterr().out == "3 1\n"
