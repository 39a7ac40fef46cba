"""The routes: who may call each, what it does, and what becomes of a request whose client has left."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import JinaEmbeddingsError
from .answers import JSON_TYPE, to_json
from .keys import Keys
from .limits import Limits, read_body
from .metrics import Metrics
from .openapi import document
from .schemas import CohereRequest, EmbeddingsRequest, RerankRequest, TokenizeRequest
from .service import Service, decoded
from .statuses import Dialect, RequestError, error_body, refusal

logger = logging.getLogger(__name__)

Access = Literal["open", "key"]


@dataclass(slots=True)
class State:
    """draining: the server is to end, and takes no new traffic. healthy: the engine answers.

    answered_at: when the engine last answered a request, by the clock of the event loop.
    """

    draining: bool = False
    healthy: bool = True
    answered_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. access: who may call it; there is no default."""

    path: str
    method: Literal["GET", "POST"]
    access: Access
    answer: Callable[[Request], Awaitable[Any]]
    dialect: Dialect = "openai"


def make_app(service: Service, keys: Keys, limits: Limits, state: State, metrics: Metrics) -> Starlette:
    """The ASGI application in front of one model."""
    server = _Server(service, keys, limits, state, metrics)
    return Starlette(routes=[server.route(endpoint) for endpoint in server.endpoints()])


class _Server:
    def __init__(self, service: Service, keys: Keys, limits: Limits, state: State, metrics: Metrics):
        self._service, self._keys, self._limits = service, keys, limits
        self._state, self._metrics = state, metrics

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("/v1/embeddings", "POST", "key", self._embeddings),
            Endpoint("/v1/multi-vector", "POST", "key", self._multivector, "jina"),
            Endpoint("/v1/rerank", "POST", "key", self._rerank, "jina"),
            Endpoint("/v2/embed", "POST", "key", self._cohere, "cohere"),
            Endpoint("/tokenize", "POST", "key", self._tokenize, "jina"),
            Endpoint("/v1/models", "GET", "key", self._models),
            Endpoint("/metrics", "GET", "key", self._render_metrics),
            Endpoint("/openapi.json", "GET", "key", self._openapi),
            Endpoint("/health/live", "GET", "open", self._live),
            Endpoint("/health/ready", "GET", "open", self._ready),
        ]

    def route(self, endpoint: Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            return await self._handle(endpoint, request)

        return Route(endpoint.path, handle, methods=[endpoint.method])

    async def _handle(self, endpoint: Endpoint, request: Request) -> Response:
        """Answers in the dialect of the route, or of the request where it says so itself."""
        request_id = uuid.uuid4().hex
        request.state.dialect = endpoint.dialect
        began = time.perf_counter()
        try:
            if endpoint.access == "key":
                self._keys.require(request.headers.getlist("authorization"))
            answer = await endpoint.answer(request)
            if endpoint.method == "POST":
                self._state.answered_at = asyncio.get_running_loop().time()
            response = answer if isinstance(answer, Response) else Response(to_json(answer), media_type=JSON_TYPE)
        except RequestError as error:
            response = self._refused(error, request, request_id)
        except JinaEmbeddingsError as error:
            logger.info("request %s: %s: %s", request_id, error.code, error)
            response = self._refused(refusal(error), request, request_id)
        except Exception:
            logger.exception("request %s", request_id)
            response = self._refused(RequestError(500, "internal_error", "internal error"), request, request_id)
        response.headers["x-request-id"] = request_id
        if self._state.draining:
            # A client that used the connection again might find it closed under its request.
            response.headers["connection"] = "close"
        if endpoint.access == "key":
            self._metrics.count(endpoint.path, response.status_code, time.perf_counter() - began)
        return response

    def _refused(self, error: RequestError, request: Request, request_id: str) -> Response:
        body = to_json(error_body(error, request.state.dialect, request_id))
        return Response(body, error.status, error.headers, JSON_TYPE)

    async def _body(self, request: Request) -> bytes:
        return await read_body(request, self._limits.max_body_bytes)

    async def _embeddings(self, request: Request) -> Any:
        body = decoded(await self._body(request), EmbeddingsRequest)
        if body.is_jina:
            request.state.dialect = "jina"
        return await _unless_gone(request, self._service.embeddings(body))

    async def _multivector(self, request: Request) -> Any:
        body = decoded(await self._body(request), EmbeddingsRequest)
        body.return_multivector = True
        return await _unless_gone(request, self._service.embeddings(body))

    async def _rerank(self, request: Request) -> Any:
        body = decoded(await self._body(request), RerankRequest)
        return await _unless_gone(request, self._service.rerank(body))

    async def _cohere(self, request: Request) -> Any:
        body = decoded(await self._body(request), CohereRequest)
        answer = await _unless_gone(request, self._service.cohere(body))
        return {"id": uuid.uuid4().hex, **answer}

    async def _tokenize(self, request: Request) -> Any:
        return await self._service.tokenize(decoded(await self._body(request), TokenizeRequest))

    async def _models(self, request: Request) -> Any:
        return self._service.models()

    async def _render_metrics(self, request: Request) -> Any:
        self._metrics.under_way.set(self._service.budget.num_under_way)
        return Response(self._metrics.render(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, request: Request) -> Any:
        return document(self.endpoints())

    async def _live(self, request: Request) -> Any:
        return {"status": "live"}

    async def _ready(self, request: Request) -> Any:
        if self._state.draining or not self._state.healthy or not self._service.model.alive:
            return Response(to_json({"status": "not ready"}), 503, media_type=JSON_TYPE)
        return {"status": "ready"}


async def _unless_gone(request: Request, work: Awaitable[Any]) -> Any:
    """The result of the work, which is cancelled if the client leaves first: Starlette doesn't do so by itself."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise RequestError(499, "client_left", "the client has left")
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
