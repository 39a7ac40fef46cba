"""From the first request to the last: serving, draining on SIGTERM, and an engine that no longer answers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ..calls.request import Request
from ..errors import OptionError
from .gate import Gate, State
from .keys import Keys
from .protocol import BoundedProtocol
from .service import Service

logger = logging.getLogger(__name__)

HEARTBEAT_S = 4.0
"""Between two small calls that ask whether the engine still answers."""

_LOOK_S = 0.5
# Longer than the minute after which load balancers close a connection that is idle: who closes first must be they.
_KEEP_ALIVE_S = 75
# Between an engine's end and the listener's: whoever asks for readiness is told so.
_LINGER_S = 3.0
# For connections that the system has accepted to reach the event loop, and then for their requests.
_ARRIVING_S = 0.5


class DrainingServer(uvicorn.Server):
    """uvicorn, but for its signals: on the first one it says that it isn't ready while it still listens, and then
    finishes what was accepted; a second one ends it at once."""

    def __init__(self, config: uvicorn.Config, state: State, drain_s: float):
        super().__init__(config)
        self._state, self._drain_s = state, drain_s

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to `_signals`: uvicorn's own way is for an event loop in the main thread."""
        yield

    def drain(self) -> None:
        if self._state.draining:
            self.force_exit = self.should_exit = True
            return
        self._state.draining = True
        asyncio.get_running_loop().call_later(self._drain_s, self._stop_listening)

    def _stop_listening(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn would close connections whose request is still on its way, right behind the listener."""
        if not self.force_exit:
            for listening in (one for server in self.servers for one in server.sockets):
                # What the system has accepted and the event loop hasn't is reset with the listener: no more of it.
                with socket.socket(fileno=os.dup(listening.fileno())) as same:
                    same.listen(0)
            await asyncio.sleep(_ARRIVING_S)
            for server in self.servers:
                server.close()
            await asyncio.sleep(_ARRIVING_S)
        await super().shutdown(sockets)


def serve(
    app: ASGIApp,
    service: Service,
    gate: Gate,
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
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(deadline_s)),
        http=BoundedProtocol,
    )
    server = DrainingServer(config, gate.state, drain_s)
    acts: dict[str, Callable[[], None]] = {
        "SIGINT": server.drain,
        "SIGTERM": server.drain,
        "SIGHUP": partial(_read_again, gate.keys),
    }
    with _signals(acts) as loops, _collected_once():
        # In the engine's own event loop where it has one: a request then passes from no thread to another.
        service.model.run_async(_serve(server, service, gate, loops))
    return gate.state.healthy


@contextlib.contextmanager
def _collected_once() -> Iterator[None]:
    """Has the garbage collector leave alone what is there now: a model and its modules, hundreds of thousands of
    objects that stay, and that stop every request while they are looked at."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def _signals(acts: dict[str, Callable[[], None]]) -> Iterator[list[asyncio.AbstractEventLoop]]:
    """Has signals, by name, call functions in the event loop that is put into the list, whatever thread runs it.

    Python calls handlers in the main thread.
    """
    loops: list[asyncio.AbstractEventLoop] = []

    def handler(act: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if not loops:
                raise KeyboardInterrupt
            # A loop that is closed has ended already.
            with contextlib.suppress(RuntimeError):
                loops[0].call_soon_threadsafe(act)

        return handle

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name, act in acts.items():
            if hasattr(signal, name):
                number = signal.Signals[name]
                before[number] = signal.signal(number, handler(act))
    try:
        yield loops
    finally:
        for number, known in before.items():
            signal.signal(number, known)


async def _serve(server: DrainingServer, service: Service, gate: Gate, loops: list[asyncio.AbstractEventLoop]) -> None:
    loops.append(asyncio.get_running_loop())
    watch = asyncio.ensure_future(_watch(server, service, gate.state))
    try:
        await server.serve()
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        gate.ledger.flush()


def _read_again(keys: Keys) -> None:
    try:
        keys.read()
    except OptionError as error:
        logger.error("the keys could not be read again, and the earlier ones stay: %s", error)


async def _watch(server: DrainingServer, service: Service, state: State) -> None:
    """Ends the server when the engine has died or hangs; requests that wait for it are answered first."""
    loop, model = asyncio.get_running_loop(), service.model
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
        elif beat is not None and loop.time() - max(begun, service.answered_at) > model.hang_s:
            logger.error("the engine has answered nothing for %.0f s", model.hang_s)
            break
    logger.error("the engine has ended; so does the server")
    state.give_up()
    await asyncio.sleep(_LINGER_S)
    server.should_exit = True
