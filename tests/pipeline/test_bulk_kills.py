"""A bulk run that is killed and begun again ends as one that never was: nothing lost, twice or torn."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jina_embeddings.pipeline.shards import shard_path
from killed_run import SHARD_ROWS, main

SCRIPT = Path(__file__).parents[1] / "support" / "killed_run.py"
STEPS = ("write", "fsync", "replace", "link")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "lines.txt").write_text("".join(f"line {number}\n" for number in range(700)))
    (folder / "rows.jsonl").write_text("".join(f'{{"text": "row {n}"}}\n' if n % 50 else "{bad\n" for n in range(300)))
    Image.new("RGB", (56, 56), "red").save(folder / "a.png")
    pages = [Image.new("RGB", (56, 56), colour) for colour in ("green", "blue", "grey")]
    pages[0].save(folder / "paper.pdf", save_all=True, append_images=pages[1:])
    return [str(folder)]


def run_of(folder: Path, inputs: list[str], when: str, share: str = "1/1") -> int:
    return subprocess.run([sys.executable, str(SCRIPT), str(folder), share, when, *inputs], check=False).returncode


def table_of(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("shard-*.parquet"))])


def assert_whole(folder: Path, reference: Path) -> None:
    found, expected = table_of(folder), table_of(reference)
    assert found["row"].to_pylist() == list(range(1004))
    assert found.equals(expected)
    rejects, wanted = ({p.name: p.read_bytes() for p in (f / "rejects").iterdir()} for f in (folder, reference))
    assert rejects == wanted
    assert not list(folder.rglob("*.part"))


@pytest.fixture(scope="module")
def reference(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "v"
    main(str(folder), "1/1", "never", *inputs)
    return folder


def kill_until_done(folder: Path, inputs: list[str], seed: int, num_kills: int, most_s: float) -> int:
    """Kills, half at a step of a commit; how many there were."""
    choose, kills = random.Random(seed), 0
    for number in range(num_kills):
        # The first is at a step that every run comes to.
        step = choose.choice(STEPS) if number and choose.random() < 0.5 else "" if number else "fsync"
        when = f"{step}:{choose.randint(1, 6)}" if step else f"{choose.uniform(0.0, most_s):.3f}"
        times = {path: path.stat().st_mtime_ns for path in folder.glob("shard-*.parquet")}
        code = run_of(folder, inputs, when)
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        # What was committed is not done again.
        assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert run_of(folder, inputs, "never") == 0
    return kills


@pytest.mark.parametrize("seed", range(4))
def test_killed_runs_lose_nothing_and_do_nothing_twice(
    inputs: list[str], reference: Path, tmp_path: Path, seed: int
) -> None:
    assert kill_until_done(tmp_path / "v", inputs, seed, 5, 0.5) >= 1
    assert_whole(tmp_path / "v", reference)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_killed_runs(inputs: list[str], reference: Path, tmp_path: Path, seed: int) -> None:
    assert kill_until_done(tmp_path / "v", inputs, seed, 5, 0.5) >= 1
    assert_whole(tmp_path / "v", reference)


@pytest.mark.parametrize("step", [f"{step}:{number}" for step in ("fsync", "replace") for number in (1, 2, 3)])
def test_a_kill_at_a_step_of_a_commit_leaves_only_whole_shards(
    inputs: list[str], reference: Path, tmp_path: Path, step: str
) -> None:
    folder = tmp_path / "v"
    assert run_of(folder, inputs, step) == -signal.SIGKILL
    for path in folder.glob("shard-*.parquet"):
        assert pq.read_table(path).num_rows == SHARD_ROWS
    assert run_of(folder, inputs, "never") == 0
    assert_whole(folder, reference)


def test_shares_at_the_same_time_make_one_run(inputs: list[str], reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    command = [sys.executable, str(SCRIPT), str(folder)]
    workers = [subprocess.Popen([*command, f"{share}/2", "never", *inputs]) for share in (1, 2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert_whole(folder, reference)


def test_a_torn_shard_is_done_again(inputs: list[str], reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    assert run_of(folder, inputs, "never") == 0
    whole = shard_path(folder, 2).read_bytes()
    shard_path(folder, 2).write_bytes(whole[: len(whole) // 2])
    shard_path(folder, 3).unlink()
    assert run_of(folder, inputs, "never") == 0
    assert_whole(folder, reference)
