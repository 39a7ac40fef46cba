"""The share of a run's time in which its engine had work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from deadly import slow_model
from jina_embeddings.cli.bulk_run import Watch
from jina_embeddings.pipeline import Run, busy


def test_overlapping_times_count_once() -> None:
    seconds = busy.BusyTime()
    assert [seconds.add(*span) for span in ((1, 3), (2, 4), (2, 3), (6, 7))] == [2, 1, 0, 1]


def test_the_share_is_of_the_time_between_the_first_rows_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    share = busy.BusyShare()
    for now, name, values in (
        (10.0, "begun", (0, 5)),
        (11.0, "begun", (5, 9)),
        (14.0, "ended", (0, 5, 3.0)),
        (18.0, "ended", (5, 9, 3.0)),
        (90.0, "committed", ("done",)),
    ):
        monkeypatch.setattr(time, "perf_counter", lambda now=now: now)
        assert share.share is None or name != "begun"
        share.note(name, values)
    assert share.share == 0.75


@pytest.mark.long
def test_a_run_tells_how_busy_its_engine_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines.txt").write_text("".join(f"line {number}\n" for number in range(300)))
    shown: list[str] = []
    with Watch() as watch:

        def report(name: str, *values: Any) -> None:
            watch.report(name, *values)
            if name == "ended":
                assert watch.progress is not None
                shown.append(watch.progress.line())

        run = Run(tmp_path / "lines.txt", tmp_path / "v", lines=True, shard_rows=50)
        summary = run.embed(slow_model, report)
    assert summary.engine_busy is not None
    assert 0 < summary.engine_busy <= 1
    assert "engine busy" in shown[-1]
