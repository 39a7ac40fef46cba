"""A bulk run that is killed and begun again ends as one that never was: nothing lost, twice or torn."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jina_embeddings.pipeline import Form
from jina_embeddings.pipeline.shards import shard_name, vectors_name
from killed_run import SHARD_ROWS, run, start

STEPS = ("write", "fsync", "replace", "link")
NUM_ROWS = 1004
# Runs of five kills in the long form.
MANY = int(os.environ.get("JINA_EMBEDDINGS_KILLED_RUNS", "40"))
FORMS = {
    "parquet": Form(also=("float16", "multivector-int8")),
    "npy": Form(also=("int8",), layout="npy"),
    "safetensors": Form(layout="safetensors"),
    "lance": Form(layout="lance", truncate_dim=128),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "lines.txt").write_text("".join(f"line {number}\n" for number in range(700)))
    (folder / "rows.jsonl").write_text("".join(f'{{"text": "row {n}"}}\n' if n % 50 else "{bad\n" for n in range(300)))
    Image.new("RGB", (56, 56), "red").save(folder / "a.png")
    pages = [Image.new("RGB", (56, 56), colour) for colour in ("green", "blue", "grey")]
    pages[0].save(folder / "paper.pdf", save_all=True, append_images=pages[1:])
    return [str(folder)]


@pytest.fixture(scope="module")
def references(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of an uninterrupted run in a form, made once."""
    made: dict[str, Path] = {}

    def reference(form: str) -> Path:
        if form not in made:
            made[form] = tmp_path_factory.mktemp("reference") / "v"
            assert run(str(made[form]), inputs, form=FORMS[form]) == 0
        return made[form]

    return reference


def table_of(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("shard-*.parquet"))])


def assert_whole(folder: Path, reference: Path) -> None:
    found, expected = table_of(folder), table_of(reference)
    assert found["row"].to_pylist() == list(range(NUM_ROWS))
    assert found.equals(expected)
    beside, wanted = ({p.name: p.read_bytes() for p in f.glob("**/*[0-9]*.[jns]*")} for f in (folder, reference))
    assert beside == wanted
    assert len(beside) >= 7
    assert not list(folder.rglob("*.part"))
    if (reference / "vectors.lance").exists():
        lance = pytest.importorskip("lance")
        tables = [lance.dataset(str(f / "vectors.lance")).to_table() for f in (folder, reference)]
        assert tables[0].equals(tables[1])
        assert tables[0].num_rows == NUM_ROWS


def kill_until_done(folder: Path, inputs: list[str], seed: int, num_kills: int, most_s: float, form: str) -> None:
    """Half of the kills are at random times, half at a step of a commit."""
    choose = random.Random(seed)
    for _ in range(num_kills):
        if choose.random() < 0.5:
            when = f"{choose.uniform(0.0, most_s):.3f}"
        else:
            when = f"{choose.choice(STEPS[:3])}:{choose.randint(1, 9)}"
        times = {path: path.stat().st_mtime_ns for path in folder.glob("shard-*.parquet")}
        assert run(str(folder), inputs, when, form=FORMS[form]) == -signal.SIGKILL
        # What was committed is not done again.
        assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert run(str(folder), inputs, form=FORMS[form]) == 0


@pytest.mark.long
@pytest.mark.parametrize(("seed", "form"), [(0, "parquet"), (1, "npy"), (2, "parquet"), (3, "safetensors")])
def test_killed_runs_lose_nothing_and_do_nothing_twice(
    inputs: list[str], references: Any, tmp_path: Path, seed: int, form: str
) -> None:
    kill_until_done(tmp_path / "v", inputs, seed, 5, 0.5, form)
    assert_whole(tmp_path / "v", references(form))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 100 + MANY))
def test_many_killed_runs(inputs: list[str], references: Any, tmp_path: Path, seed: int) -> None:
    form = list(FORMS)[seed % len(FORMS)]
    kill_until_done(tmp_path / "v", inputs, seed, 5, 0.5, form)
    assert_whole(tmp_path / "v", references(form))


@pytest.mark.slow
def test_killed_runs_of_a_model(inputs: list[str], tmp_path: Path) -> None:
    """A model's vectors are the same to float32 rounding: what shares a batch depends on time."""
    options: dict[str, Any] = {"model": ("pocket", "torch")}
    assert run(str(tmp_path / "whole"), inputs, **options) == 0
    choose = random.Random(7)
    for number in range(25):
        folder = tmp_path / f"v{number // 5}"
        assert run(str(folder), inputs, f"{choose.uniform(2.0, 8.0):.2f}", **options) == -signal.SIGKILL
    expected = table_of(tmp_path / "whole")
    for folder in sorted(tmp_path.glob("v?")):
        assert run(str(folder), inputs, **options) == 0
        found = table_of(folder)
        assert found.drop_columns("embedding").equals(expected.drop_columns("embedding"))
        for vector, wanted in zip(found["embedding"].to_pylist(), expected["embedding"].to_pylist(), strict=True):
            assert (vector is None) == (wanted is None)
            assert vector is None or np.allclose(vector, wanted, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    "step", ["link:1", "write:1", *(f"fsync:{number}" for number in range(1, 9)), "replace:1", "replace:2", "replace:3"]
)
def test_a_kill_at_a_step_of_a_commit_leaves_only_whole_shards(
    inputs: list[str], references: Any, tmp_path: Path, step: str
) -> None:
    folder = tmp_path / "v"
    assert run(str(folder), inputs, step, form=FORMS["npy"]) == -signal.SIGKILL
    for path in folder.glob("shard-*.parquet"):
        assert pq.read_table(path).num_rows == SHARD_ROWS
        for column in ("embedding", "embedding_int8"):
            name = vectors_name(int(path.stem.removeprefix("shard-")), column, ".npy")
            assert len(np.load(folder / name)) == SHARD_ROWS
    assert run(str(folder), inputs, form=FORMS["npy"]) == 0
    assert_whole(folder, references("npy"))


@pytest.mark.long
def test_shares_that_run_at_the_same_time_make_one_run(inputs: list[str], references: Any, tmp_path: Path) -> None:
    workers = [start(str(tmp_path / "v"), inputs, share=f"{n}/2", form=FORMS["parquet"]) for n in (1, 2)]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert_whole(tmp_path / "v", references("parquet"))


@pytest.mark.long
@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_a_torn_shard_is_done_again(inputs: list[str], references: Any, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "v"
    assert run(str(folder), inputs, form=FORMS[form]) == 0
    torn = folder / shard_name(2) if form == "parquet" else folder / vectors_name(2, "embedding", ".npy")
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    (folder / shard_name(3)).unlink()
    assert run(str(folder), inputs, form=FORMS[form]) == 0
    assert_whole(folder, references(form))


@pytest.mark.long
def test_a_lance_commit_that_is_killed_and_repeated_has_each_row_once(
    inputs: list[str], references: Any, tmp_path: Path
) -> None:
    pytest.importorskip("lance")
    kill_until_done(tmp_path / "v", inputs, 11, 3, 0.5, "lance")
    assert run(str(tmp_path / "v"), inputs, form=FORMS["lance"]) == 0
    assert_whole(tmp_path / "v", references("lance"))
