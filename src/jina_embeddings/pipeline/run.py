"""`Run`: files are embedded into a folder of shards; given again, it goes on where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import RunError
from .busy import BusyShare
from .chunks import Report
from .folder import Folder
from .identity import Load, identity_of
from .job import Job
from .kept import check_fields, check_kept, kept_types
from .lance_table import check_address, check_names
from .manifest import Manifest, Share, folder_for, locked
from .memory_tables import store_table
from .plan import Plan
from .provenance import Form
from .ray import Cluster, run_on_ray
from .records import Fields
from .rows import LeftOut
from .sources import Source, survey
from .storing import storing
from .supervise import run_supervised
from .unchanged import check_all

SHARD_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run, or a share of one, is. cut: texts of the rows done that were cut."""

    rows: int
    rows_done: int
    rejected: int
    cut: int
    shards: int
    shards_done: int
    files: int
    model: str | None
    task: str | None

    @classmethod
    def of(cls, job: Job, manifest: Manifest | None) -> Status:
        done = job.done(manifest)
        spans = [job.plan.span(shard) for shard in job.shards]
        return cls(
            rows=sum(stop - start for start, stop in spans),
            rows_done=sum(shard.rows for shard in done.values()),
            rejected=sum(shard.rejected for shard in done.values()),
            cut=sum(shard.cut for shard in done.values()),
            shards=len(spans),
            shards_done=len(done),
            files=len(job.plan.sources),
            model=manifest.made_by["model"] if manifest else None,
            task=manifest.made_by["task"] if manifest else None,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcome of a run.

    cut: texts that were cut. left_out: files without anything to embed.
    rows_this_time, seconds, restarts: of this call alone.
    engine_busy: the share of the time from the first rows to the last in which the engine had work; None on a cluster.
    """

    rows: int
    rejected: int
    cut: int
    shards: int
    rows_this_time: int
    seconds: float
    rows_per_second: float
    engine_busy: float | None
    restarts: int
    left_out: list[LeftOut]


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of files to a folder of shards. The same run again does what is left of it.

        run = Run(["corpus/"], "vectors/", Form(task="retrieval"), Fields(text="body", keep=("title",)))
        summary = run.embed(partial(JinaEmbeddings, "jinaai/jina-embeddings-v4"))

    Args:
        inputs: files, folders, addresses such as `s3://bucket/*.parquet`, and tables in memory (DataFrames of pandas
            and polars, Arrow tables, splits of `datasets`), whose columns that are needed are kept in the folder.
        into: a folder of its own, or an address.
        form: what vectors are made, and how they are stored.
        fields: of records.
        lines: a text file gives a row a line.
        share: do a part of the shards; others do the rest, at the same time or not.
        shard_rows: rows of a shard.
        max_rejected: a larger part of the rows than this ends the run; None for no limit.
        batch_size: as in `JinaEmbeddings.encode`.
        cluster: a Ray cluster that does the work, instead of a child process.
    """

    inputs: Any
    into: str | os.PathLike[str]
    form: Form = field(default_factory=Form)
    fields: Fields = field(default_factory=Fields)
    lines: bool = False
    share: Share = field(default_factory=Share)
    shard_rows: int = SHARD_ROWS
    max_rejected: float | None = None
    batch_size: int | None = None
    cluster: Cluster | None = None

    def embed(self, load: Load, report: Report | None = None) -> Summary:
        """Does what is left, in a process that is started again when it dies.

        load: gives the model as a context manager; called in that process, so it has to be picklable:
            `partial(JinaEmbeddings, ...)`. Where all is done it is called for another callable alone, whose model is
            compared with the run's.
        report: called with `planned` and a `Status`, then as `Job.embed_shards` says.

        Raises:
            RunMismatchError: the folder holds another run, or something else; or a file has changed meanwhile.
            RunBusyError: another process works on it.
            TooManyRejectedError: see `max_rejected`; what is done is kept.
            InputError: a path can't be read.
            OptionError: see `Form`, `check_kept`.
            EngineDeadError: the engine dies whatever it is given.
        """
        self.form.check()
        check_kept(self.fields, self.form.columns)
        if self.form.layout == "lance":
            check_address(self.into)
        folder = folder_for(self.into)
        with locked(folder, self.share):
            job, left_out = self._job(folder)
            manifest = job.check()
            begun = Status.of(job, manifest)
            if report is not None:
                report("planned", begun)
            start = time.perf_counter()
            restarts = 0
            busy = BusyShare()

            def noted(name: str, *values: Any) -> None:
                busy.note(name, values)
                if report is not None:
                    report(name, *values)

            same = manifest is not None and manifest.check_unloaded(identity_of(load, self.form), folder)
            if not same or begun.shards_done < begun.shards:
                restarts = self._work(job, load, noted)
                check_all(job.sources)
            took_s = time.perf_counter() - start
            manifest = Manifest.read(folder)
            assert manifest is not None
            job.finish(manifest)
            summary = _summary(begun, Status.of(job, manifest), took_s, busy.share, restarts, left_out)
            with storing("the summary", folder):
                folder.write(f"_summary{self.share.name}.json", json.dumps(asdict(summary), indent=1).encode() + b"\n")
        return summary

    def _work(self, job: Job, load: Load, report: Report) -> int:
        if self.cluster is None:
            return run_supervised(job, load, report)
        return run_on_ray(job, load, report, self.cluster)

    def _path(self, given: Any, folder: Folder, known: Sequence[Source] | None) -> str:
        if isinstance(given, str | os.PathLike):
            return os.fspath(given)
        return store_table(given, self.fields.all, folder, known)

    def _job(self, folder: Folder) -> tuple[Job, list[LeftOut]]:
        before = Manifest.read(folder)
        known = before.plan.sources if before else None
        found = survey(
            [self._path(given, folder, known) for given in _listed(self.inputs)],
            lines=self.lines,
            leave_out=frozenset({os.path.abspath(self.into)}),
            known=known or (),
        )
        plan = Plan(found.sources, self.shard_rows, self.fields)
        check_fields(plan)
        kept = kept_types(plan, self.form.layout)
        if self.form.layout == "lance":
            check_names(name for name, _ in kept)
        allowed = None if self.max_rejected is None else int(self.max_rejected * plan.num_rows)
        return Job(folder, plan, self.form, self.share, allowed, self.batch_size), found.left_out


def _listed(inputs: Any) -> list[Any]:
    return list(inputs) if isinstance(inputs, list | tuple) else [inputs]


def status(into: str | os.PathLike[str]) -> Status:
    """How far the run in a folder is, whoever works on it. Raises RunError where there is none."""
    folder = Folder.at(into)
    manifest = Manifest.read(folder)
    if manifest is None:
        raise RunError(f"{into} holds no run: name the folder of a bulk run")
    return Status.of(Job(folder, manifest.plan, manifest.form), manifest)


def _summary(
    begun: Status, ended: Status, took_s: float, busy: float | None, restarts: int, left_out: list[LeftOut]
) -> Summary:
    rows = ended.rows_done - begun.rows_done
    rate = round(rows / max(took_s, 1e-9), 1)
    return Summary(
        ended.rows_done,
        ended.rejected,
        ended.cut,
        ended.shards_done,
        rows,
        round(took_s, 3),
        rate,
        None if busy is None else round(busy, 3),
        restarts,
        left_out,
    )
