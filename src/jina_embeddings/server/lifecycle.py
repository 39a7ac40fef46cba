"""From the first request to the last: serving, draining on SIGTERM, and an engine that no longer answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from ..calls.request import Request
from ..embedder import JinaEmbeddings
from .app import State
from .keys import Keys

logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
"""Between two small calls that ask whether the engine still answers."""

HANGING_S = 60.0
"""An engine that has answered nothing for so long, though a heartbeat waits, hangs. One call of 2,048 texts may take
long on a CPU."""

_LOOK_S = 0.5


class DrainingServer(uvicorn.Server):
    """uvicorn, but for its signals: on the first one it says that it isn't ready while it still listens, and then
    finishes what was accepted; a second one ends it at once."""

    def __init__(self, config: uvicorn.Config, state: State, drain_s: float):
        super().__init__(config)
        self._state, self._drain_s = state, drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._state.draining:
            self.force_exit = self.should_exit = True
            return
        self._state.draining = True
        asyncio.get_running_loop().call_later(self._drain_s, self._stop_listening)

    def _stop_listening(self) -> None:
        self.should_exit = True


def serve(
    app: Starlette,
    model: JinaEmbeddings,
    keys: Keys,
    state: State,
    *,
    host: str,
    port: int,
    drain_s: float,
    deadline_s: float,
) -> bool:
    """Serves until a signal or until the engine has died; whether the engine was well to the end.

    drain_s: between a signal and the end of listening. deadline_s: for the requests that are then under way.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, int(deadline_s)),
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = DrainingServer(config, state, drain_s)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, model, keys, state))
    return state.healthy


async def _serve(server: DrainingServer, model: JinaEmbeddings, keys: Keys, state: State) -> None:
    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _read_again, keys)
    watch = asyncio.ensure_future(_watch(server, model, state))
    try:
        await server.serve()
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


def _read_again(keys: Keys) -> None:
    try:
        keys.read()
    except Exception:
        logger.exception("the keys could not be read again; the earlier ones stay")


async def _watch(server: DrainingServer, model: JinaEmbeddings, state: State) -> None:
    """Ends the server when the engine has died or hangs; requests under way are answered first."""
    loop = asyncio.get_running_loop()
    beat: asyncio.Future[Any] | None = None
    begun = 0.0
    while model.alive:
        await asyncio.sleep(_LOOK_S)
        if beat is None and loop.time() >= begun + HEARTBEAT_S:
            begun = loop.time()
            beat = asyncio.ensure_future(model.aembed(Request.texts(["heartbeat"], {})))
        if beat is not None and beat.done():
            if not beat.cancelled() and beat.exception() is not None:
                logger.warning("a heartbeat failed: %r", beat.exception())
            beat = None
        # A heartbeat waits behind real work: an engine that has answered something since then is busy, not hanging.
        elif beat is not None and loop.time() - max(begun, state.answered_at) > HANGING_S:
            logger.error("the engine has answered nothing for %.0f s", HANGING_S)
            break
    state.healthy = False
    logger.error("the engine has ended; so does the server")
    server.should_exit = True
