"""A bulk run as a process that kills itself with SIGKILL.

when: seconds, or `STEP:NUMBER`, before the NUMBERth `write`, `fsync`, `replace` or `link` of the run, or at its end
where it has fewer; `never`.

log: a file to which the first and the last row of each chunk are appended when its embedding begins.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any

from jina_embeddings import JinaEmbeddings
from jina_embeddings.pipeline import Form
from jina_embeddings.pipeline.folder import Folder
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.manifest import Manifest, Share, locked
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.shard_writer import ShardWriter
from jina_embeddings.pipeline.sources import survey

SHARD_ROWS = 150

# A fork of a process that has imported everything, and has no thread: a tenth of what a new interpreter takes.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["killed_run"])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(owner: Any, name: str, number: int) -> None:
    real, calls = getattr(owner, name), 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            die()
        return real(*arguments, **options)

    setattr(owner, name, call)


def make_job(
    folder: Folder, share: str, paths: list[str], form: Form, *, known: Any = (), shard_rows: int = SHARD_ROWS
) -> Job:
    found = survey(paths, lines=True, known=known)
    return Job(folder, Plan(found.sources, shard_rows), form, Share.parse(share))


def embed(
    address: str,
    share: str,
    when: str,
    paths: list[str],
    form: Form,
    model: tuple[str, str],
    shard_rows: int = SHARD_ROWS,
    log: str | None = None,
) -> None:
    """What the process does. model: name and engine."""
    step, _, number = when.partition(":")
    folder = Folder.at(address)
    with JinaEmbeddings(model[0], engine=model[1]) as loaded, locked(folder, Share.parse(share)):
        before = Manifest.read(folder)
        known = before.plan.sources if before else ()
        job = make_job(folder, share, paths, form, known=known, shard_rows=shard_rows)
        if step in ("fsync", "replace", "link"):
            dies_at(os, step, int(number))
        elif step == "write":
            dies_at(ShardWriter, "_write_group", int(number))
        elif step != "never":
            timer = threading.Timer(float(step), die)
            timer.daemon = True
            timer.start()

        def report(name: str, *values: Any) -> None:
            if log is not None and name == "begun":
                # One write, so that what several threads and processes append isn't mixed.
                with open(log, "a", buffering=1) as file:
                    file.write(f"{values[0]} {values[1]}\n")

        job.work(loaded, report)
        if step != "never":
            die()


def start(
    address: str,
    paths: list[str],
    when: str = "never",
    *,
    share: str = "1/1",
    form: Form | None = None,
    model: tuple[str, str] = ("fake", "fake"),
    shard_rows: int = SHARD_ROWS,
    log: str | None = None,
) -> multiprocessing.process.BaseProcess:
    arguments = (address, share, when, paths, form or Form(), model, shard_rows, log)
    process = _CONTEXT.Process(target=embed, args=arguments)
    process.start()
    return process


def run(address: str, paths: list[str], when: str = "never", **options: Any) -> int:
    """The exit code, -SIGKILL if it was killed."""
    process = start(address, paths, when, **options)
    process.join()
    assert process.exitcode is not None
    return process.exitcode
