"""Bad rows of twelve kinds, one of which kills its worker, are rejected in their places; all others are embedded."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from deadly import WORD, dead_model, deadly_model
from jina_embeddings.errors import EngineDeadError, TooManyRejectedError
from jina_embeddings.pipeline import Run, Summary, status
from jina_embeddings.pipeline.caution import CHUNK_ROWS, Caution, pieces
from jina_embeddings.pipeline.supervise import MAX_DEATHS_IN_VAIN, Seen


def bad_lines(folder: Path) -> dict[str, bytes]:
    """A line of each kind, by its name."""
    picture = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(picture, "png")
    (folder / "torn.png").write_bytes(picture.getvalue()[:-700])
    (folder / "notes.png").write_text("not an image")
    Image.new("RGB", (4000, 10)).save(folder / "thin.png")
    huge = Image.new("1", (20_000, 20_000))
    huge.save(folder / "huge.png")
    return {
        "not JSON": b'{"text": "a',
        "no object": b"[1, 2]",
        "not UTF-8": b'{"text": "caf\xe9"}',
        "neither": b'{"title": "a"}',
        "both": b'{"text": "a", "image": "thin.png"}',
        "a number": b'{"text": 7}',
        "no such file": b'{"image": "gone.png"}',
        "torn": b'{"image": "torn.png"}',
        "no image": b'{"image": "notes.png"}',
        "too thin": b'{"image": "thin.png"}',
        "too large": b'{"image": "huge.png"}',
        WORD: json.dumps({"text": f"a {WORD} word"}).encode(),
    }


def corpus(folder: Path, num_rows: int, num_bad: int) -> dict[int, str]:
    """Writes rows.jsonl with bad rows spread over it, one of them deadly; returns the kind of each bad row."""
    lines = bad_lines(folder)
    kinds = [kind for kind in lines if kind != WORD]
    places = [number * num_rows // num_bad + 3 for number in range(num_bad)]
    bad = {place: kinds[number % len(kinds)] for number, place in enumerate(places)} | {places[num_bad // 2]: WORD}
    rows = [lines[bad[row]] if row in bad else b'{"text": "row %d"}' % (row % 500) for row in range(num_rows)]
    (folder / "rows.jsonl").write_bytes(b"\n".join(rows))
    return bad


def check(folder: Path, num_rows: int, num_bad: int) -> Summary:
    bad = corpus(folder, num_rows, num_bad)
    assert len(set(bad.values())) == 12
    run = Run([str(folder / "rows.jsonl")], folder / "v", shard_rows=num_rows // 4)
    summary = run.embed(deadly_model)
    assert (summary.rows, summary.rejected, summary.shards) == (num_rows, num_bad, 4)
    assert 1 <= summary.restarts <= math.log2(CHUNK_ROWS) + 1
    table = pq.read_table(sorted((folder / "v").glob("*.parquet")), columns=["row", "embedding", "error_code"])
    assert {row for row, code in zip(*table.select([0, 2]).to_pydict().values(), strict=True) if code} == set(bad)
    assert table["embedding"].null_count == num_bad
    rejects = [
        json.loads(line) for path in (folder / "v" / "_rejects").iterdir() for line in path.read_text().splitlines()
    ]
    assert {line["row"] for line in rejects} == set(bad)
    codes = Counter(line["code"] for line in rejects)
    assert codes["engine_dead"] == 1
    assert set(codes) == {"engine_dead", "input_error", "image_unreadable"}
    # The same run again has nothing left to do, and no worker dies.
    again = run.embed(deadly_model)
    assert (again.rows_this_time, again.restarts, again.rejected) == (0, 0, num_bad)
    return summary


@pytest.mark.long
def test_bad_rows_of_twelve_kinds_are_rejected(tmp_path: Path) -> None:
    check(tmp_path, 400, 24)


@pytest.mark.slow
def test_a_hundred_bad_rows_among_ten_thousand(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    summary = check(tmp_path, 10_000, 100)
    for name in ("rows", "rejected", "restarts"):
        record_property(name, getattr(summary, name))


@pytest.mark.long
def test_too_many_bad_rows_end_the_run_which_can_go_on(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join('{"text": "a"}\n' if n % 10 else "[]\n" for n in range(400)))
    run = Run([str(tmp_path / "rows.jsonl")], tmp_path / "v", shard_rows=100, max_rejected=0.02)
    with pytest.raises(TooManyRejectedError, match="10 of 400 rows were rejected, 8 are allowed"):
        run.embed(deadly_model)
    assert status(tmp_path / "v").shards_done == 1
    allowed = Run(run.inputs, run.into, shard_rows=100, max_rejected=0.1)
    assert allowed.embed(deadly_model).rejected == 40


def test_an_engine_that_dies_of_anything_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(EngineDeadError, match="ended 2 times without having got on"):
        Run([str(tmp_path / "rows.jsonl")], tmp_path / "v").embed(dead_model)


def deaths_of(caution: Caution, deadly: set[int], num_rows: int, most_at_once: int) -> tuple[int, Caution]:
    """How many workers die before all rows are done. With `most_at_once` above 1, `deadly` rows kill together only."""
    for deaths in range(100):
        seen = Seen(caution)

        def dies(rows: set[int], known: Caution = caution) -> bool:
            found = deadly & (rows - known.poison)
            return bool(found) and (most_at_once == 1 or found == deadly)

        def work(seen: Seen = seen, caution: Caution = caution) -> bool:
            for suspect in caution.suspects:
                for piece in pieces(suspect):
                    seen.note("trying", piece)
                    if dies(set(range(*piece))):
                        return False
                    seen.note("cleared", piece)
            start = 0
            while start < num_rows:
                span = (start, min(start + caution.most_rows(start), num_rows))
                seen.note("begun", span)
                if dies(set(range(*span))):
                    return False
                seen.note("ended", span)
                start = span[1]
            return True

        if work():
            return deaths, caution
        caution = seen.after_death()
    raise AssertionError("never ends")


@pytest.mark.parametrize("deadly", [{0}, {CHUNK_ROWS - 1}, {2000}, {2999}])
def test_one_row_is_found_in_few_deaths(deadly: set[int]) -> None:
    deaths, caution = deaths_of(Caution(), deadly, 3000, 1)
    assert caution.poison == deadly
    assert deaths <= 5


def test_each_of_several_rows_is_found() -> None:
    deaths, caution = deaths_of(Caution(), {5, 6, 700, 1500}, 3000, 1)
    assert caution.poison == {5, 6, 700, 1500}
    assert deaths <= 4 * 5


def test_rows_that_kill_only_together_are_embedded_apart() -> None:
    deaths, caution = deaths_of(Caution(), {10, 11}, 3000, 2)
    assert caution.poison == frozenset()
    assert deaths < MAX_DEATHS_IN_VAIN
    assert caution.most_rows(0) == 1
    assert caution.most_rows(CHUNK_ROWS) == CHUNK_ROWS
