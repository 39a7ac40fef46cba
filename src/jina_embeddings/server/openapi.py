"""The OpenAPI document, made from the structs that requests are decoded into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .. import __version__
from .schemas import CohereRequest, EmbeddingsRequest, RerankRequest, TokenizeRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .app import Endpoint

_BODIES: dict[str, Any] = {
    "/v1/embeddings": EmbeddingsRequest,
    "/v1/multi-vector": EmbeddingsRequest,
    "/v1/rerank": RerankRequest,
    "/v2/embed": CohereRequest,
    "/tokenize": TokenizeRequest,
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1 of the given routes."""
    kinds = list(dict.fromkeys(_BODIES.values()))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    named = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        statuses = {"200": "answered"}
        operation: dict[str, Any] = {}
        if endpoint.path in _BODIES:
            content = {"application/json": {"schema": named[_BODIES[endpoint.path]]}}
            operation["requestBody"] = {"required": True, "content": content}
            statuses |= {"400": "no JSON", "413": "too large", "422": "can't be used", "429": "too much under way"}
        if endpoint.access == "key":
            operation["security"] = [{"key": []}]
            statuses["401"] = "no valid key"
        if endpoint.path in _BODIES or endpoint.path == "/health/ready":
            statuses["503"] = "not ready"
        operation["responses"] = {status: {"description": words} for status, words in sorted(statuses.items())}
        paths[endpoint.path] = {endpoint.method.lower(): operation}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Jina Embeddings v4", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
