"""A run in a child process: one that dies is started again, and the row that killed it is found by halving."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import Any

from ..embedder import JinaEmbeddings
from ..errors import EngineClosedError, EngineDeadError, JinaEmbeddingsError
from .job import Caution, Job, Report

Load = Callable[[], AbstractContextManager[JinaEmbeddings]]
_ENGINE_DEAD = 70
_ROWS_TOLD = 64
_STOP_S = 30


def run_supervised(job: Job, load: Load, report: Report) -> int:
    """Does what is left of a job; the number of children that died.

    load: gives the model, in the child; has to be picklable. report: as in `Job.work`.

    Raises:
        EngineDeadError: children die before they have begun a shard.
        JinaEmbeddingsError, OSError: what the child raised.
    """
    caution, deaths, early = Caution(), 0, 0
    while True:
        last = _Last()
        if _child(job, load, caution, last, report):
            return deaths
        deaths += 1
        if last.began is None and last.trying is None:
            early += 1
            if early == 2:
                raise EngineDeadError("the process that embeds ended twice before it had embedded anything")
            continue
        early = 0
        caution = _after(caution, last)


class _Last:
    """began: the shard that was read last. trying: rows that were run alone."""

    began: int | None = None
    trying: tuple[int, int] | None = None


def _after(caution: Caution, last: _Last) -> Caution:
    until = max(caution.until, 0 if last.began is None else last.began + 1)
    if last.trying is None:
        return Caution(caution.poison, None, until)
    start, stop = last.trying
    if stop - start == 1:
        return Caution(caution.poison | {start}, None, until)
    return Caution(caution.poison, last.trying, until)


def _child(job: Job, load: Load, caution: Caution, last: _Last, report: Report) -> bool:
    """Whether it came to its end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, job, load, caution), name="jina-embeddings-bulk")
    process.start()
    theirs.close()
    try:
        for name, *values in _messages(ours):
            if name == "end":
                return True
            if name == "error":
                raise values[0]
            if name == "begun":
                last.began = values[0]
            elif name == "trying":
                last.trying = (values[0], values[1])
            report(name, *values)
        return False
    finally:
        # After an interrupt it leaves its shard, whose draft goes with it; one that hangs is ended.
        if process.is_alive():
            process.join(0.5)
        if process.is_alive():
            process.terminate()
            process.join(_STOP_S)
        if process.is_alive():
            process.kill()
        process.join()
        ours.close()


def _messages(pipe: Connection) -> Iterator[tuple[Any, ...]]:
    while True:
        try:
            yield pipe.recv()
        except (EOFError, ConnectionResetError):
            return


def _work(pipe: Connection, job: Job, load: Load, caution: Caution) -> None:
    _end_with_parent()
    told = 0

    def report(name: str, *values: Any) -> None:
        nonlocal told
        if name == "rows":
            told += 1
            if told < _ROWS_TOLD:
                return
            values = (told,)
        if name in ("rows", "committed"):
            if name == "committed" and told:
                pipe.send(("rows", told))
            told = 0
        pipe.send((name, *values))

    try:
        with load() as model:
            job.work(model, report, caution)
        pipe.send(("end",))
    except (KeyboardInterrupt, EngineClosedError):
        os._exit(128 + signal.SIGINT)
    except EngineDeadError:
        os._exit(_ENGINE_DEAD)
    except JinaEmbeddingsError as error:
        pipe.send(("error", error))
    except OSError as error:
        pipe.send(("error", OSError(error.errno, error.strerror or str(error), error.filename)))


def _end_with_parent() -> None:
    """A child whose parent was killed would write beside the next run's."""
    import threading

    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="jina-embeddings-parent", daemon=True).start()
