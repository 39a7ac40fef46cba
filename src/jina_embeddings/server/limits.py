"""What a request may cost, known before it is paid: its body, its inputs, and its share of what is under way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from .statuses import RequestError

# Tokens that an image comes to at most; about as long on the device as a text of so many.
IMAGE_TOKENS = 800


@dataclass(frozen=True, slots=True)
class Limits:
    """
    max_body_bytes: of a request.
    max_inputs: texts and images of a request.
    max_tokens_under_way: of all requests together. A text counts by its bytes, which are never fewer than its tokens,
        up to the longest length that a text is cut or refused at.
    """

    max_body_bytes: int = 32 * 2**20
    max_inputs: int = 2048
    max_tokens_under_way: int = 4 * 2**20


class Budget:
    """Tokens under way over all requests. Used from one event loop."""

    def __init__(self, limits: Limits, max_length: int):
        self.limits = limits
        self.num_under_way = 0
        self._max_length = max_length

    def cost(self, items: Sequence[dict[str, Any]]) -> int:
        """Tokens that the inputs come to at most."""
        limit = self._max_length
        return sum(min(4 * len(item["text"]), limit) if "text" in item else IMAGE_TOKENS for item in items)

    @contextmanager
    def taken(self, items: Sequence[dict[str, Any]]) -> Iterator[None]:
        """Holds the inputs' share while the block runs.

        Raises:
            RequestError: 413 for more than there ever is, 429 for more than is free.
        """
        if len(items) > self.limits.max_inputs:
            raise RequestError(
                413,
                "too_many_inputs",
                f"{len(items)} inputs, {self.limits.max_inputs} are taken: send several requests",
            )
        cost, total = self.cost(items), self.limits.max_tokens_under_way
        if cost > total:
            raise RequestError(413, "request_too_large", "the inputs are too long together: send several requests")
        if self.num_under_way + cost > total:
            raise RequestError(
                429, "rate_token_limit_exceeded", "too much is under way: try again", {"Retry-After": "1"}
            )
        self.num_under_way += cost
        try:
            yield
        finally:
            self.num_under_way -= cost


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body; 413 as soon as it is too long."""
    too_large = RequestError(
        413, "request_too_large", f"the body has more than {max_bytes} bytes: send several requests"
    )
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)
