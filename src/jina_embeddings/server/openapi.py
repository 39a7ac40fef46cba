"""The OpenAPI document, made from the structs that requests are decoded into."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from .. import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .app import Endpoint

_OF_BODIES = {
    "400": "no JSON",
    "408": "the body did not arrive in time",
    "413": "too large",
    "422": "can't be used",
    "429": "too much under way, or used up for this minute",
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1 of the given routes."""
    kinds = list(dict.fromkeys(endpoint.body for endpoint in endpoints if endpoint.body is not None))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    named = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        statuses = {"200": "answered"}
        operation: dict[str, Any] = {}
        if endpoint.body is not None:
            content = {"application/json": {"schema": named[endpoint.body]}}
            operation["requestBody"] = {"required": True, "content": content}
            statuses |= _OF_BODIES
        if endpoint.access == "key":
            operation["security"] = [{"key": []}]
            statuses["401"] = "no valid key"
        if endpoint.body is not None or endpoint.path == "/health/ready":
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


def page(openapi: dict[str, Any]) -> str:
    """The document as an HTML page that needs no other file and no script."""
    title = escape(f"{openapi['info']['title']} {openapi['info']['version']}")
    schemas = openapi["components"]["schemas"]
    parts = [_STYLE.format(title=title)]
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            answers = [f"{status} {escape(one['description'])}" for status, one in operation["responses"].items()]
            key = "needs a key; " if "security" in operation else ""
            parts.append(f"<p>{key}answers {', '.join(answers)}</p>")
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                parts.append(_fields(schemas[reference.rpartition("/")[2]]))
    return "\n".join(parts)


_STYLE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px sans-serif;max-width:60em;margin:2em auto}}
td,th{{text-align:left;padding:.2em 1em .2em 0}}</style>
<h1>{title}</h1>"""


def _fields(schema: dict[str, Any]) -> str:
    rows = []
    for name, field in schema["properties"].items():
        default = "needed" if name in schema.get("required", ()) else json.dumps(field.get("default"))
        rows.append(f"<tr><td><code>{escape(name)}</code><td>{escape(_kind(field))}<td>{escape(default)}")
    return (
        f"<p>{escape(schema.get('description', ''))}</p><table><tr><th>field<th>type<th>default{''.join(rows)}</table>"
    )


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    if "enum" in field:
        return ", ".join(json.dumps(value) for value in field["enum"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    kind = str(field.get("type", "anything"))
    return f"list of {_kind(field['items'])}" if kind == "array" and "items" in field else kind
