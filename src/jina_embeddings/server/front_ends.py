"""Several processes that share a port, in front of the one process that has the engine.

One Python process answers three to four thousand requests of one text a second, fewer than a fast GPU can embed. Each
front end reads requests, tokenises, and writes answers; the process with the engine makes packs of all their texts.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .assembly import Settings, serve_model
from .metrics import SHARED_FOLDER
from .signals import handled_signals

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

logger = logging.getLogger(__name__)

_LOOK_S = 0.1
# Time for front ends to end after the last of their own deadlines.
_SPARE_S = 10.0


@dataclass(frozen=True, slots=True)
class ModelArguments:
    """What `JinaEmbeddings` was called with, without its engine."""

    model: str
    options: dict[str, Any]


def serve_from_front_ends(model: JinaEmbeddings, settings: Settings, arguments: ModelArguments) -> bool:
    """Serves until a signal arrives, or the engine or a front end dies; returns whether all were alive to the end."""
    _require_free_port(settings)
    processes: list[SpawnProcess] = []
    acts: dict[str, Callable[[], None]] = {
        "SIGINT": partial(_signal_all, processes, signal.SIGTERM),
        "SIGTERM": partial(_signal_all, processes, signal.SIGTERM),
        "SIGHUP": partial(_signal_all, processes, signal.SIGHUP),
    }
    with _shared_metrics(), handled_signals(acts) as loops:
        return model.run_async(_supervised(model, settings, arguments, processes, loops))


async def _supervised(
    model: JinaEmbeddings,
    settings: Settings,
    arguments: ModelArguments,
    processes: list[SpawnProcess],
    loops: list[asyncio.AbstractEventLoop],
) -> bool:
    async with model.hosted() as path:
        context = multiprocessing.get_context("spawn")
        try:
            for _ in range(settings.front_ends):
                process = context.Process(target=_front_end, args=(path, settings.share, arguments))
                process.start()
                processes.append(process)
            loops.append(asyncio.get_running_loop())
            while all(process.is_alive() for process in processes):
                await asyncio.sleep(_LOOK_S)
            # After a signal, which all have got, the first of them has ended; otherwise it has failed.
            if any(process.exitcode for process in processes):
                codes = ", ".join(str(process.exitcode) for process in processes if process.exitcode)
                logger.error("a front end has ended with status %s; so does the server", codes)
                _signal_all(processes, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.drain_s + settings.deadline_s + _SPARE_S):
                    while any(process.is_alive() for process in processes):
                        await asyncio.sleep(_LOOK_S)
        finally:
            for process in processes:
                process.kill()
    return all(process.exitcode == 0 for process in processes)


def _front_end(path: Path, settings: Settings, arguments: ModelArguments) -> None:
    """The main function of one process."""
    from ..embedder import JinaEmbeddings

    # Signals of the terminal reach the process with the engine alone, which passes them on.
    os.setsid()
    with JinaEmbeddings(arguments.model, engine=path, **arguments.options) as model:
        well = serve_model(model, settings)
    sys.exit(0 if well else 2)


def _signal_all(processes: list[SpawnProcess], number: int) -> None:
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, number)


def _require_free_port(settings: Settings) -> None:
    """Raises OptionError if something listens on the port: front ends would share it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise OptionError(f"port {settings.port} of {settings.host} can't be used: {error.strerror}") from error


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Within this context, processes that start count into files of one folder."""
    with tempfile.TemporaryDirectory(prefix="jina-embeddings-") as folder:
        os.environ[SHARED_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[SHARED_FOLDER]
