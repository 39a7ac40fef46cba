"""Twenty thousand rows of text, images and PDF pages by two workers that are killed again and again."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jina_embeddings.pipeline import Form
from killed_run import run

NUM_ROWS, SHARD_ROWS = 20_000, 500
KILLS_OF_A_WORKER, WORKERS = 20, ("1/2", "2/2")
FORMS = (
    Form(also=("float16", "multivector-int8")),
    Form(also=("int8",), layout="npy"),
    Form(layout="safetensors"),
    Form(layout="lance", truncate_dim=128),
    Form(also=("binary",)),
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "lines.txt").write_text("".join(f"line {number}\n" for number in range(16_000)))
    rows = (f'{{"text": "row {n}"}}\n' if n % 50 else "{bad\n" for n in range(2000))
    (folder / "rows.jsonl").write_text("".join(rows))
    images = [Image.new("RGB", (56, 56), (n % 250, n // 250 * 20, 90)) for n in range(1000)]
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    for number in range(50):
        first, *others = images[20 * number : 20 * number + 20]
        first.save(folder / f"{number}.pdf", save_all=True, append_images=others)
    return [str(folder)]


def table_of(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("shard-*.parquet"))])


def arrays_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("**/*[0-9]*.[ns][pa]*") if path.suffix != ".parquet"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(len(FORMS)))
def test_two_killed_workers_lose_none_of_twenty_thousand_rows(
    inputs: list[str], tmp_path: Path, record_property: Callable[[str, object], None], seed: int
) -> None:
    form, folder, log = FORMS[seed], tmp_path / "killed", tmp_path / "begun"
    assert run(str(tmp_path / "whole"), inputs, form=form, shard_rows=SHARD_ROWS) == 0

    def work(share: str) -> None:
        choose = random.Random(f"{seed} {share}")
        options: dict[str, Any] = {"share": share, "form": form, "shard_rows": SHARD_ROWS, "log": str(log)}
        own = int(share[0]) - 1
        for _ in range(KILLS_OF_A_WORKER):
            step = choose.choice(("write", "fsync", "replace"))
            times = {
                path: path.stat().st_mtime_ns
                for path in folder.glob("shard-*.parquet")
                if int(path.stem.removeprefix("shard-")) % len(WORKERS) == own
            }
            when = choose.choice((f"{choose.uniform(0.0, 3.0):.3f}", f"{step}:{choose.randint(1, 9)}"))
            assert run(str(folder), inputs, when, **options) == -signal.SIGKILL
            # What was committed is not done again.
            assert all(path.stat().st_mtime_ns == time for path, time in times.items())
        assert run(str(folder), inputs, **options) == 0

    with ThreadPoolExecutor(len(WORKERS)) as threads:
        for _ in threads.map(work, WORKERS):
            pass

    found, expected = table_of(folder), table_of(tmp_path / "whole")
    assert found["row"].to_pylist() == list(range(NUM_ROWS))
    assert found.equals(expected)
    assert arrays_of(folder) == arrays_of(tmp_path / "whole")
    assert (form.layout not in ("npy", "safetensors")) == (not arrays_of(folder))
    if form.layout == "lance":
        lance = pytest.importorskip("lance")
        datasets = [lance.dataset(str(tmp_path / name / "vectors.lance")) for name in ("killed", "whole")]
        assert datasets[0].to_table().equals(datasets[1].to_table())
    assert not list(folder.rglob("*.part"))

    begun = sum(stop - start for start, stop in (map(int, line.split()) for line in log.read_text().splitlines()))
    kills = KILLS_OF_A_WORKER * len(WORKERS)
    assert begun - NUM_ROWS <= kills * SHARD_ROWS
    record_property("kills", kills)
    record_property("rejected", NUM_ROWS - expected["error_code"].null_count)
    record_property("rows_begun_again_per_kill", round((begun - NUM_ROWS) / kills, 1))
