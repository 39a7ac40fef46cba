"""`embed --into`: what was asked for becomes a job, is run in a child process, and is summed up."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import OptionError, RunMismatchError
from ..pipeline.drafts import Draft
from ..pipeline.job import Job, kept_types
from ..pipeline.manifest import NAME, Manifest, Share, locked
from ..pipeline.plan import Fields, Plan
from ..pipeline.provenance import Form
from ..pipeline.shards import Done
from ..pipeline.sources import survey
from ..pipeline.supervise import run_supervised
from .model import ModelChoice
from .terminal import Progress, say, to_terminal

_LINE_S = 30


@dataclass(frozen=True, slots=True)
class BulkRun:
    """The arguments of the command, under their names there."""

    choice: ModelChoice
    into: str
    task: str | None
    prompt_name: str | None
    text_field: str
    image_field: str
    id_field: str
    keep: str
    lines: bool
    shard: str
    shard_rows: int
    max_bad: str | None
    also: str
    batch_size: int | None
    max_length: int | None
    truncate_dim: int | None
    multivector: bool
    embedding_type: str

    def embed(self, paths: Sequence[str]) -> int:
        """Does what is left; the number of rows that the whole share rejected."""
        folder, share = self._folder(), Share.parse(self.shard)
        form = Form(
            self.task,
            self.prompt_name,
            self.max_length,
            self.truncate_dim,
            self.multivector,
            self.embedding_type,
            _names(self.also),
        )
        form.check()
        limit = _fraction(self.max_bad)
        with locked(folder, share):
            before = Manifest.read(folder)
            found = survey(
                paths,
                lines=self.lines,
                leave_out=frozenset({os.path.abspath(folder)}),
                known=before.plan.sources if before else (),
            )
            fields = Fields(self.text_field, self.image_field, self.id_field, _names(self.keep))
            plan = Plan(found.sources, self.shard_rows, fields)
            kept_types(plan)
            allowed = None if limit is None else int(limit * plan.num_rows)
            job = Job(folder, plan, form, share, allowed, self.batch_size)
            manifest = job.check()
            start = time.perf_counter()
            restarts, rows = 0, 0
            if manifest is None or job.remaining(manifest):
                say(_begins(job, manifest))
                counter = _Counter(job, manifest)
                load = partial(self.choice.loaded, self.task)
                try:
                    with counter:
                        restarts = run_supervised(job, load, counter.report)
                except KeyboardInterrupt:
                    say(f"what is committed is kept: give the same command again to go on, or `status {folder}`")
                    raise
                rows = counter.rows
            manifest = Manifest.read(folder)
            assert manifest is not None
            done = job.done(manifest)
            return self._sum_up(job, done, rows, time.perf_counter() - start, restarts, found.left_out)

    def _folder(self) -> Path:
        if "://" in self.into:
            raise OptionError(f"--into {self.into} is an address: write to a folder here, and copy it there")
        folder = Path(self.into)
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"--into {self.into} is a file: give a folder")
        if folder.is_dir() and not (folder / NAME).exists():
            # A run that was killed before its manifest leaves hidden files and an empty `rejects` at most.
            others = [
                path.name for path in folder.iterdir() if not path.name.startswith(".") and path.name != "rejects"
            ]
            if others:
                raise RunMismatchError(f"{self.into} holds other files and no run: give a folder of its own")
        return folder

    def _sum_up(self, job: Job, done: dict[int, Done], rows: int, took_s: float, restarts: int, left_out: int) -> int:
        rejected = sum(shard.rejected for shard in done.values())
        summary: dict[str, Any] = {
            "rows": sum(shard.rows for shard in done.values()),
            "rejected": rejected,
            "shards": len(done),
            "rows_this_time": rows,
            "seconds": round(took_s, 3),
            "rows_per_second": round(rows / max(took_s, 1e-9), 1),
            "restarts": restarts,
            "left_out": left_out,
        }
        draft = Draft(job.folder / f"summary{job.share.name}.json")
        try:
            draft.file.write(json.dumps(summary, indent=1).encode() + b"\n")
            draft.commit()
        finally:
            draft.discard()
        print(json.dumps(summary), file=sys.stdout)
        say(f"{summary['rows']:,} rows in {job.folder}, {rejected:,} of them rejected")
        return rejected


class _Counter:
    """Progress of this share: a bar on a terminal, else a line every half minute."""

    def __init__(self, job: Job, manifest: Manifest | None):
        self.rows = 0
        left = job.remaining(manifest) if manifest else [n for n in range(job.plan.num_shards) if job.share.has(n)]
        self.total = sum(stop - start for start, stop in map(job.plan.span, left))
        self._bar = Progress(iter([self.total]))
        self._start = self._said = time.monotonic()

    def __enter__(self) -> _Counter:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def report(self, name: str, *values: Any) -> None:
        if name != "rows":
            return
        self.rows += values[0]
        for _ in range(values[0]):
            self._bar.advance()
        now = time.monotonic()
        if not to_terminal() and now - self._said >= _LINE_S:
            self._said = now
            rate = self.rows / (now - self._start)
            left_s = max(0, self.total - self.rows) / rate
            say(f"{self.rows:,} of {self.total:,} rows, {rate:,.1f} rows/s, {left_s / 60:,.0f} minutes left")


def _begins(job: Job, manifest: Manifest | None) -> str:
    plan = job.plan
    what = f"{plan.num_rows:,} rows of {len(plan.sources):,} files in {plan.num_shards:,} shards"
    return what if manifest is None else f"{what}; {len(job.done(manifest)):,} shards are done already"


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _fraction(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise OptionError(f"--max-bad is a share of the rows, 1% or 0.01, not {text!r}")
    return value
