"""Tables in memory: a run embeds their rows as they are, and a worker that starts again reads them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from deadly import WORD, deadly_model, fake_model
from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import InputError, RunMismatchError
from jina_embeddings.pipeline import Fields, Run

NUM_ROWS = 2300
COLUMNS: dict[str, list[Any]] = {
    "text": [f"row {number}" if number != 5 else None for number in range(NUM_ROWS)],
    "year": list(range(NUM_ROWS)),
    "unused": [object.__name__] * NUM_ROWS,
}
KINDS = {
    "pandas": pd.DataFrame(COLUMNS, index=range(7, NUM_ROWS + 7)),
    "polars": pl.DataFrame(COLUMNS),
    "arrow": pa.table(COLUMNS),
    "datasets": datasets.Dataset.from_dict({name: [None, *values] for name, values in COLUMNS.items()}).select(
        range(1, NUM_ROWS + 1)
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_table_in_memory_gives_its_rows(tmp_path: Path, kind: str) -> None:
    run = Run(KINDS[kind], tmp_path / "v", fields=Fields(keep=("year",)), shard_rows=1000)
    summary = run.embed(fake_model)
    assert (summary.rows, summary.rejected) == (NUM_ROWS, 1)
    table = pq.read_table(tmp_path / "v")
    assert table["year"].to_pylist() == COLUMNS["year"]
    with JinaEmbeddings(engine="fake") as model:
        wanted = model.encode_text("row 2299", prompt_name="passage")
    np.testing.assert_array_equal(table["embedding"][2299].values.to_numpy(), wanted)
    (kept,) = (tmp_path / "v" / "_inputs").iterdir()
    assert pq.read_schema(kept).names == ["text", "year"]
    # The same table again is the same run.
    assert run.embed(fake_model).rows_this_time == 0


@pytest.mark.long
def test_a_worker_that_dies_reads_the_table_again(tmp_path: Path) -> None:
    texts = [f"row {number}" for number in range(300)]
    texts[123] = f"a {WORD} row"
    summary = Run([pl.DataFrame({"text": texts})], tmp_path / "v", shard_rows=100).embed(deadly_model)
    assert (summary.rows, summary.rejected, summary.restarts > 0) == (300, 1, True)


def test_other_rows_are_another_run(tmp_path: Path) -> None:
    Run(pd.DataFrame({"text": ["one", "two"]}), tmp_path / "v").embed(fake_model)
    with pytest.raises(RunMismatchError, match="other rows than this table"):
        Run(pd.DataFrame({"text": ["one", "three"]}), tmp_path / "v").embed(fake_model)
    assert len(list((tmp_path / "v" / "_inputs").iterdir())) == 1


def test_images_of_datasets_are_embedded(tmp_path: Path) -> None:
    images = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue")]
    features = datasets.Features({"image": datasets.Image()})
    given = datasets.Dataset.from_dict({"image": images}, features=features)
    assert Run(given, tmp_path / "v").embed(fake_model).rejected == 0
    with JinaEmbeddings(engine="fake") as model:
        wanted = model.encode_image(images)
    found = pq.read_table(tmp_path / "v")["embedding"].to_pylist()
    np.testing.assert_array_equal(np.array(found, dtype=np.float32), wanted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"body": ["x"]}), "none of the columns text, image, id"),
        (datasets.DatasetDict({"train": KINDS["datasets"]}), "a DatasetDict is no input"),
        (pl.DataFrame({"text": ["x"]}).lazy(), "a LazyFrame is no input"),
        (7, "a int is no input"),
        (pa.table([["x"], ["y"]], names=["text", "text"]), r"two columns have one name \('text'\)"),
        (pd.DataFrame({"text": ["x", "y"], "id": [1, "z"]}), "a column can't be stored: .*id.*: convert it"),
    ],
)
def test_a_value_that_is_no_table_is_refused_with_what_to_give(tmp_path: Path, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Run(given, tmp_path / "v").embed(fake_model)


def test_one_path_needs_no_list(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    assert Run(tmp_path / "a.txt", tmp_path / "v").embed(fake_model).rows == 1


def test_columns_that_are_not_needed_may_be_of_any_type(tmp_path: Path) -> None:
    for number, table in enumerate(
        (
            pd.DataFrame({"text": ["x", "y"], "mixed": [1, "z"], "object": [object(), 1j]}),
            pl.DataFrame({"text": ["x", "y"], "object": pl.Series([object(), 1j], dtype=pl.Object)}),
        )
    ):
        assert Run(table, tmp_path / f"{number}").embed(fake_model).rejected == 0


def test_categories_of_polars_are_kept_as_their_names(tmp_path: Path) -> None:
    given = pl.DataFrame({"text": ["x", "y", "z"], "c": pl.Series(["b", None, "a"], dtype=pl.Enum(["a", "b"]))})
    Run(given, tmp_path / "v", fields=Fields(keep=("c",))).embed(fake_model)
    assert pq.read_table(tmp_path / "v")["c"].to_pylist() == ["b", None, "a"]
