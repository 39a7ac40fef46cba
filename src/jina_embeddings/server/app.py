"""The routes: who may call each, and which function answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from starlette.responses import Response
from starlette.routing import Route, Router

from .gate import Gate
from .limits import Claim
from .openapi import document, page
from .records import Record
from .schemas import CohereRequest, EmbeddingsRequest, RerankRequest, SearchRequest, TokenizeRequest
from .service import Service
from .statuses import Dialect

Access = Literal["open", "key"]

Answer = Callable[[Any, Record, Claim], Awaitable[Any]]
"""From the decoded body (None for GET), the record of the request and its share of the budget to a Response, JSON's
bytes, or what `to_json` takes."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. access: who may call it. body: the struct that its requests are decoded into; None for GET."""

    path: str
    access: Access
    answer: Answer
    dialect: Dialect = "either"
    body: type[msgspec.Struct] | None = None

    @property
    def method(self) -> Literal["GET", "POST"]:
        return "GET" if self.body is None else "POST"


def make_app(service: Service, gate: Gate) -> Router:
    """The ASGI application in front of one model."""
    routes = [Route(endpoint.path, gate.handler(endpoint)) for endpoint in endpoints(service, gate)]
    return Router(routes, redirect_slashes=False, default=gate.unknown)


def endpoints(service: Service, gate: Gate) -> list[Endpoint]:
    """All routes, the busiest first."""
    return [
        Endpoint("/v1/embeddings", "key", service.embeddings, body=EmbeddingsRequest),
        Endpoint("/v1/multi-vector", "key", service.multivector, "jina", EmbeddingsRequest),
        Endpoint("/v1/rerank", "key", service.rerank, "jina", RerankRequest),
        Endpoint("/v2/embed", "key", service.cohere, "cohere", CohereRequest),
        *([Endpoint("/v1/search", "key", service.search, "jina", SearchRequest)] if service.index else []),
        Endpoint("/tokenize", "key", service.tokenize, "jina", TokenizeRequest),
        Endpoint("/v1/models", "key", service.models, "openai"),
        *_about(service, gate),
    ]


def _about(service: Service, gate: Gate) -> list[Endpoint]:
    """The routes about the server itself: health, metrics and documentation."""

    async def live(body: None, record: Record, claim: Claim) -> Any:
        return {"status": "live"}

    async def ready(body: None, record: Record, claim: Claim) -> Any:
        if gate.state.draining or not gate.state.healthy or not service.model.alive:
            return Response(b'{"status":"not ready"}', 503, media_type="application/json")
        return {"status": "ready"}

    async def metrics(body: None, record: Record, claim: Claim) -> Any:
        return Response(gate.ledger.render(service.model.pack_fill), media_type="text/plain; version=0.0.4")

    async def openapi(body: None, record: Record, claim: Claim) -> Any:
        return document(endpoints(service, gate))

    async def docs(body: None, record: Record, claim: Claim) -> Any:
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(page(document(endpoints(service, gate))), headers=headers, media_type="text/html")

    return [
        Endpoint("/metrics", gate.metrics_access, metrics),
        Endpoint("/openapi.json", "key", openapi),
        Endpoint("/docs", "key", docs),
        Endpoint("/health/live", "open", live),
        Endpoint("/health/ready", "open", ready),
    ]
