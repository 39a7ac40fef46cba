"""What every request passes, whatever its route: key, rate and body are checked, and it ends if its client leaves."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import JinaEmbeddingsError
from .answers import Json, to_json
from .bodies import decoded, read_body
from .records import Record
from .statuses import RequestError, error_body, refusal

if TYPE_CHECKING:
    from .app import Access, Endpoint
    from .keys import Keys
    from .ledger import Ledger
    from .limits import Budget
    from .rates import Rates

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 64 * 1024
_WATCH_AFTER_S = 0.25


@dataclass(slots=True)
class State:
    """What the requests of one server know of it.

    draining: it was asked to end, and tells load balancers to send no more. healthy: the engine answers.
    under_way: the tasks of the requests that are being answered.
    """

    draining: bool = False
    healthy: bool = True
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)

    def give_up(self) -> None:
        """Marks the engine as dead, and ends the requests that wait for it."""
        self.healthy = False
        for task in self.under_way:
            task.cancel()


@dataclass(frozen=True, slots=True)
class Gate:
    """Makes handlers of routes. metrics_access: who may read `/metrics`."""

    keys: Keys
    rates: Rates
    budget: Budget
    state: State
    ledger: Ledger
    metrics_access: Access = "key"

    def handler(self, endpoint: Endpoint) -> ASGIApp:
        """The ASGI application of one route."""
        return _Handler(self, endpoint)

    async def unknown(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application for paths without a route."""
        if scope["type"] != "http":
            return
        record = Record("unknown", "cohere" if scope["path"].startswith("/v2/") else "either")
        error = RequestError(404, "not_found", "there is no such route: GET /openapi.json names those there are")
        await self.answer(record, refused(error, record), scope, receive, send)

    async def answer(self, record: Record, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response, and hands its record to the ledger."""
        response.raw_headers.append((b"x-request-id", record.request_id.encode()))
        if self.state.draining or not self.state.healthy:
            # The connection is about to be closed, and the client's next request on it would fail.
            response.raw_headers.append((b"connection", b"close"))
        if record.key is not None:
            response.raw_headers += self.rates.remaining(record.key)
        record.finish(response.status_code)
        await response(scope, receive, send)
        if not record.route.startswith("/health/"):
            self.ledger.add(record, scope)


@dataclass(frozen=True, slots=True, eq=False)
class _Handler:
    """The handler of one route. Starlette passes the scope itself only to handlers that are no functions."""

    gate: Gate
    endpoint: Endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint, gate = self.endpoint, self.gate
        record = Record(endpoint.path, endpoint.dialect)
        try:
            response = await self._answered(record, scope, receive)
        except RequestError as error:
            response = refused(error, record)
        except JinaEmbeddingsError as error:
            said = refusal(error, record.fields)
            level = logging.WARNING if said.status >= 500 else logging.INFO
            logger.log(level, "request %s: %s: %s", record.request_id, error.code, error)
            response = refused(said, record)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not gate.state.draining:
                raise
            task.uncancel()
            response = refused(_ended(), record)
        except Exception:
            logger.exception("request %s", record.request_id)
            response = refused(RequestError(500, "internal_error", "internal error"), record)
        await gate.answer(record, response, scope, receive, send)

    async def _answered(self, record: Record, scope: Scope, receive: Receive) -> Response:
        endpoint, gate = self.endpoint, self.gate
        if scope["method"] != endpoint.method and (scope["method"], endpoint.method) != ("HEAD", "GET"):
            raise RequestError(
                405, "method_not_allowed", f"{endpoint.path} takes {endpoint.method}", {"Allow": endpoint.method}
            )
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            raise RequestError(431, "headers_too_large", "the headers are too large")
        headers = Headers(scope=scope)
        key = gate.keys.require(headers.getlist("authorization")) if endpoint.access == "key" else ""
        with gate.budget.claim() as claim:
            if endpoint.body is None:
                return _response(await endpoint.answer(None, record, claim))
            if not gate.state.healthy:
                raise _engine_dead()
            record.key = key
            gate.rates.enter(key)
            raw = await read_body(headers, receive, claim, gate.budget.limits.max_body_bytes)
            body = decoded(raw, endpoint.body)
            record.add("parse", time.perf_counter() - record.began)
            try:
                answer = await self._unless_gone(receive, endpoint.answer(body, record, claim))
            finally:
                gate.rates.charge(key, record.num_tokens)
        return _response(answer)

    async def _unless_gone(self, receive: Receive, work: Any) -> Any:
        """Awaits the work, which is cancelled if the client leaves or the engine dies first.

        Starlette and uvicorn don't cancel it.
        """
        state, task = self.gate.state, asyncio.current_task()
        assert task is not None
        watch = _Watch(receive, task)
        state.under_way.add(task)
        try:
            return await work
        except asyncio.CancelledError:
            if not state.healthy:
                task.uncancel()
                raise _engine_dead() from None
            if watch.gone:
                task.uncancel()
                raise RequestError(499, "client_left", "the client has left") from None
            raise
        finally:
            state.under_way.discard(task)
            watch.stop()


class _Watch:
    """Cancels a request's task when its client leaves.

    It starts after `_WATCH_AFTER_S`, when most requests have been answered, since its task costs more than a timer.
    """

    def __init__(self, receive: Receive, task: asyncio.Task[Any]):
        self.gone = False
        self._receive, self._task = receive, task
        self._watching: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._begin)

    def stop(self) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _begin(self) -> None:
        self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()


def _engine_dead() -> RequestError:
    return RequestError(503, "engine_dead", "the engine can't answer now", {"Retry-After": "5"})


def _ended() -> RequestError:
    message = "the server ends, and the request was not done in time: send it again"
    return RequestError(503, "server_ending", message, {"Retry-After": "1"})


def refused(error: RequestError, record: Record) -> Response:
    """The response for an error, in the dialect of the request."""
    record.code = error.code
    body = to_json(error_body(error, record.dialect, record.request_id))
    return Json(body, error.status, error.headers)


def _response(answer: Any) -> Response:
    if isinstance(answer, Response):
        return answer
    return Json(answer if isinstance(answer, bytes) else to_json(answer))
