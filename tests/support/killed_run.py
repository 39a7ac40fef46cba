"""A bulk run as a process that kills itself with SIGKILL: `killed_run.py FOLDER SHARE WHEN INPUT...`.

WHEN: seconds, or `STEP:NUMBER`, before the NUMBERth `write`, `fsync`, `replace` or `link` of the run; `never`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from jina_embeddings import JinaEmbeddings
from jina_embeddings.pipeline.job import Job
from jina_embeddings.pipeline.manifest import Manifest, Share, locked
from jina_embeddings.pipeline.plan import Plan
from jina_embeddings.pipeline.provenance import Form
from jina_embeddings.pipeline.shards import ShardWriter
from jina_embeddings.pipeline.sources import survey

SHARD_ROWS = 150


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


def make_job(folder: Path, share: str, paths: list[str], *, known: Any = ()) -> Job:
    found = survey(paths, lines=True, known=known)
    return Job(folder, Plan(found.sources, SHARD_ROWS), Form(), Share.parse(share))


def main(folder: str, share: str, when: str, *paths: str) -> None:
    step, _, number = when.partition(":")
    with JinaEmbeddings(engine="fake") as model, locked(Path(folder), Share.parse(share)):
        before = Manifest.read(Path(folder))
        job = make_job(Path(folder), share, list(paths), known=before.plan.sources if before else ())
        if step in ("fsync", "replace", "link"):
            dies_at(os, step, int(number))
        elif step == "write":
            dies_at(ShardWriter, "_write_group", int(number))
        elif step != "never":
            timer = threading.Timer(float(step), die)
            timer.daemon = True
            timer.start()
        job.work(model, lambda *_: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
