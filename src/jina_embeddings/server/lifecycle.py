"""Runs the server from start to end: it serves, drains on SIGTERM, and ends when the engine no longer answers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ..calls.request import Request
from ..errors import OptionError
from .gate import Gate, State
from .keys import Keys
from .listening import listening_socket, turn_away
from .protocol import BoundedProtocol
from .service import Service
from .signals import Acts, handled_signals

logger = logging.getLogger(__name__)

HEARTBEAT_S = 3.0
"""Time between two small calls that test whether the engine still answers."""

_LOOK_S = 0.5
# Load balancers close idle connections after a minute. If the server closed one first, a request on it could be lost.
_KEEP_ALIVE_S = 75
# Time between the end of the engine and that of the listener, in which probes are told that the server isn't ready.
_LINGER_S = 3.0
# Time for accepted connections to reach the event loop, and then again for their requests to arrive.
_ARRIVING_S = 0.5
# Time for the answers of requests that didn't end before the deadline.
_LAST_WORDS_S = 0.2
# Objects that a collection of the youngest takes; Python's 700 are those of a few requests under way.
_COLLECTED_AFTER = 10_000


class DrainingServer(uvicorn.Server):
    """uvicorn with other signal handling: on the first signal it reports that it isn't ready while it still listens,
    and then finishes the requests that it has accepted; a second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, state: State, drain_s: float, begun: Callable[[], None]):
        super().__init__(config)
        self._state, self._drain_s, self._begun = state, drain_s, begun

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing: `handled_signals` does that, since uvicorn expects its event loop to be in the main thread."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()

    def drain(self) -> None:
        if self._state.draining:
            self.force_exit = self.should_exit = True
            return
        self._state.draining = True
        asyncio.get_running_loop().call_later(self._drain_s, self._stop_listening)

    def _stop_listening(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for requests that are on their way; uvicorn would close their connections with the listener."""
        if not self.force_exit:
            for listening in (one for server in self.servers for one in server.sockets):
                # Closing the listener resets connections that the event loop hasn't accepted, so no more may queue up.
                with socket.socket(fileno=os.dup(listening.fileno())) as same:
                    turn_away(same)
            await asyncio.sleep(_ARRIVING_S)
            for server in self.servers:
                server.close()
            await asyncio.sleep(_ARRIVING_S)
        await super().shutdown(sockets)
        # Those that were cancelled at the deadline still say so to their clients.
        if self.server_state.tasks and not self.force_exit:
            await asyncio.wait(self.server_state.tasks, timeout=_LAST_WORDS_S)
            await asyncio.sleep(_LAST_WORDS_S)


def serve(
    app: ASGIApp,
    service: Service,
    gate: Gate,
    *,
    host: str,
    port: int,
    drain_s: float,
    deadline_s: float,
    shares_port: bool = False,
    begun: Callable[[], None] = lambda: None,
) -> bool:
    """Serves until a signal arrives or the engine dies; returns whether the engine was alive to the end.

    drain_s: time between a signal and the end of listening. deadline_s: time for the requests that are then under way.
    shares_port: other processes listen on the port too, and the system spreads connections over them.
    begun: called when the server takes requests.

    Raises:
        OptionError: the port can't be listened on.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(deadline_s)),
        http=BoundedProtocol,
        ws="none",
    )
    server = DrainingServer(config, gate.state, drain_s, begun)
    acts: dict[str, Callable[[], None]] = {
        "SIGINT": server.drain,
        "SIGTERM": server.drain,
        "SIGHUP": partial(_read_again, gate.keys),
    }
    with handled_signals(acts) as called, rarely_collected():
        # An engine with an event loop of its own runs the server in it, so that requests don't change threads.
        listening = listening_socket(host, port, shared=shares_port)
        service.model.run_async(_serve(server, service, gate, called, listening))
    return gate.state.healthy


@contextlib.contextmanager
def rarely_collected() -> Iterator[None]:
    """Within this context the garbage collector skips the objects that exist now, and looks at others seldom.

    A model and its modules are hundreds of thousands of objects that stay; traversing them would pause every request.
    Objects of requests are freed without it.
    """
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _serve(
    server: DrainingServer,
    service: Service,
    gate: Gate,
    called: Acts,
    listening: socket.socket,
) -> None:
    called.begin(asyncio.get_running_loop())
    watch = asyncio.ensure_future(_watch(server, service, gate))
    try:
        await server.serve([listening])
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


async def _watch(server: DrainingServer, service: Service, gate: Gate) -> None:
    """Ends the server when the engine dies or hangs, after the requests that wait for it were answered."""
    loop, model = asyncio.get_running_loop(), service.model
    beat: asyncio.Future[Any] | None = None
    begun = 0.0
    while model.alive:
        await asyncio.sleep(_LOOK_S)
        # Other front ends tell of this one's, which may answer nothing for a while.
        gate.ledger.measure()
        if beat is None and loop.time() >= begun + HEARTBEAT_S:
            begun = loop.time()
            beat = asyncio.ensure_future(model.aembed(Request.texts(["heartbeat"], {})))
        if beat is not None and beat.done():
            if not beat.cancelled() and beat.exception() is not None:
                logger.warning("a heartbeat failed: %r", beat.exception())
            beat = None
        # A heartbeat queues behind other calls: if one of those was answered since, the engine is only busy.
        elif beat is not None and loop.time() - max(begun, service.answered_at) > model.hang_s:
            logger.error("the engine has answered nothing for %.0f s", model.hang_s)
            break
    logger.error("the engine has ended; so does the server")
    gate.state.give_up()
    await asyncio.sleep(_LINGER_S)
    server.should_exit = True
