"""Reads the body of a request within its limits, and decodes it into the struct of its route."""

from __future__ import annotations

import asyncio
import codecs
import gc
from typing import TYPE_CHECKING, TypeVar

import msgspec

from .statuses import RequestError

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Message, Receive

    from .limits import Claim

S = TypeVar("S", bound=msgspec.Struct)

BODY_S = 60.0
"""Time in which a body has to arrive."""


async def read_body(headers: Headers, receive: Receive, claim: Claim, max_bytes: int) -> bytes:
    """Reads the body of a request, whose bytes are added to its claim before they are kept.

    Raises:
        RequestError: 415 if it is compressed, 413 or 429 as soon as it is too long, 408 if it doesn't arrive in time.
    """
    if (encoding := headers.get("content-encoding", "identity")).lower() != "identity":
        raise RequestError(415, "unsupported_encoding", f"the body is in {encoding[:20]}: send it as it is")
    declared = headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    _take(claim, size, 0, max_bytes)
    message = await _received(receive)
    body = message.get("body", b"")
    if not message.get("more_body", False):
        _take(claim, max(0, len(body) - size), len(body), max_bytes)
        return bytes(body)
    chunks, arrived = [body], len(body)
    try:
        async with asyncio.timeout(BODY_S):
            while message.get("more_body", False):
                message = await _received(receive)
                chunks.append(message.get("body", b""))
                arrived += len(chunks[-1])
                if arrived > size:
                    _take(claim, arrived - size, arrived, max_bytes)
                    size = arrived
    except TimeoutError:
        raise RequestError(408, "request_timeout", f"the body did not arrive in {BODY_S:g} s") from None
    return b"".join(chunks)


def _take(claim: Claim, more: int, arrived: int, max_bytes: int) -> None:
    if max(more, arrived) > max_bytes:
        raise RequestError(413, "request_too_large", f"the body has more than {max_bytes} bytes: send several requests")
    claim.take_bytes(more)


async def _received(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise RequestError(499, "client_left", "the client has left")
    return message


def decoded(body: bytes, kind: type[S]) -> S:
    """Decodes a body of JSON into that struct. Raises RequestError 400 or 422, which says what is wrong in it."""
    # Millions of values would be looked at by the collector again and again, while the event loop stands still.
    gc.disable()
    try:
        return msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8), type=kind)
    except msgspec.ValidationError as error:
        # The place is the end of the message, as in "Expected `int`, got `str` - at `$.dimensions`".
        message, _, place = str(error).partition(" - at `$")
        field = place.removeprefix(".").removesuffix("`")
        raise RequestError(422, "validation_error", message + _choices(kind, field), field=field) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, "invalid_json", f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise RequestError(400, "invalid_json", "the body is nested too deeply") from error
    finally:
        gc.enable()


def _choices(kind: type[msgspec.Struct], field: str) -> str:
    """The end of an error message about a field, if it takes certain values only: these."""
    known = {one.encode_name: one.type for one in msgspec.inspect.type_info(kind).fields}  # type: ignore[attr-defined]
    values = _literals(known.get(field.partition("[")[0]))
    return f": choose one of {', '.join(map(repr, values))}" if values else ""


def _literals(kind: object) -> list[object]:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _literals(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return [*dict.fromkeys(value for one in kind.types for value in _literals(one))]
    if isinstance(kind, msgspec.inspect.ListType):
        return _literals(kind.item_type)
    return list(kind.values) if isinstance(kind, msgspec.inspect.LiteralType) else []
