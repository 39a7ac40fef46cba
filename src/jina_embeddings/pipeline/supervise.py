"""A run in a child process: one that dies is started again, and the row that killed it is found."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from ..errors import EngineClosedError, EngineDeadError, JinaEmbeddingsError, RunError
from .caution import Caution, Span
from .chunks import Report
from .identity import Load
from .job import Job
from .storing import reason_of

logger = logging.getLogger(__name__)

_ENGINE_DEAD_STATUS = 70
MAX_EARLY_DEATHS = 2
MAX_DEATHS_IN_VAIN = 12
"""Deaths in a row without a shard or a rejected row more. The search for one row takes at most five."""
_STOP_S = 30


def run_supervised(job: Job, load: Load, report: Report) -> int:
    """Embeds what is left of a job, and returns the number of child processes that died.

    load: gives the model, in the child; has to be picklable. report: as in `Job.work`.

    Raises:
        EngineDeadError: children die before they have begun, or again and again without one row more.
        JinaEmbeddingsError, OSError: what the child raised.
    """
    caution, deaths, in_vain, early, useless = Caution(), 0, 0, 0, 0
    while True:
        seen = Seen(caution)
        reason = _child(job, load, caution, seen, report)
        if reason is None:
            return deaths
        caution = seen.after_death()
        deaths += 1
        in_vain = 0 if seen.progress else in_vain + 1
        early = early + 1 if seen.nothing else 0
        useless = 0 if seen.embedded else useless + 1
        if early == MAX_EARLY_DEATHS or MAX_DEATHS_IN_VAIN in (in_vain, useless):
            times = max(early, in_vain, useless)
            raise EngineDeadError(
                f"the process that embeds ended {times} times without having got on, the last time by {reason}"
            )
        logger.warning("the process that embeds has ended by %s, and is started again", reason)


class Seen:
    """What a worker told of its work.

    progress: there is a shard more, or one row less to look for. nothing: it never began. embedded: there was a row
    that it embedded.
    """

    def __init__(self, caution: Caution):
        self._caution = caution
        self._running: dict[int, int] = {}
        self._trying: Span | None = None
        self.progress = False
        self.nothing = True
        self.embedded = False

    def note(self, name: str, values: Sequence[Any]) -> None:
        self.nothing = False
        if name == "begun":
            self._running[values[0]] = values[1]
        elif name == "ended":
            self._running.pop(values[0], None)
        elif name == "trying":
            self._trying = (values[0], values[1])
        elif name == "cleared":
            self._caution, self._trying = self._caution.cleared((values[0], values[1])), None
        self.progress |= name == "committed"
        self.embedded |= name in ("ended", "cleared", "committed")

    def after_death(self) -> Caution:
        found = self._caution.after_death(list(self._running.items()), self._trying)
        self.progress |= found.poison != self._caution.poison
        return found


def _child(job: Job, load: Load, caution: Caution, seen: Seen, report: Report) -> str | None:
    """Runs a child process; returns what it died of, None if it finished the job."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, job, load, caution), name="jina-embeddings-bulk")
    process.start()
    theirs.close()
    try:
        for name, *values in _messages(ours):
            if name == "end":
                return None
            if name == "error":
                raise values[0]
            if name == "died":
                return str(values[0])
            seen.note(name, values)
            report(name, *values)
        process.join(_STOP_S)
        return _how(process.exitcode)
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


def _how(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"status {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"{name}, as the system ends it where memory is short" if name == "SIGKILL" else name


def _messages(pipe: Connection) -> Iterator[tuple[Any, ...]]:
    while True:
        try:
            yield pipe.recv()
        except (EOFError, OSError):  # OSError: killed in the middle of a message
            return


def _work(pipe: Connection, job: Job, load: Load, caution: Caution) -> None:
    _end_with_parent()
    told_by_one = threading.Lock()

    def report(name: str, *values: Any) -> None:
        with told_by_one:
            pipe.send((name, *values))

    try:
        with load() as model:
            # What is there now stays: the collector needn't go through it again.
            gc.freeze()
            job.work(model, report, caution)
        pipe.send(("end",))
    except (KeyboardInterrupt, EngineClosedError):
        os._exit(128 + signal.SIGINT)
    except EngineDeadError as error:
        pipe.send(("died", error.reason))
        os._exit(_ENGINE_DEAD_STATUS)
    except JinaEmbeddingsError as error:
        pipe.send(("error", error))
    except OSError as error:
        known = (error.errno, error.strerror, error.filename)
        pipe.send(("error", OSError(*known) if error.errno is not None else OSError(reason_of(error))))
    except Exception as error:
        traceback.print_exc()
        pipe.send(("error", RunError(f"the process that embeds has failed: {reason_of(error)}")))


def _end_with_parent() -> None:
    """Ends this process when its parent ends: otherwise it would write while the next run does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="jina-embeddings-parent", daemon=True).start()
