"""Limits of a request and of all together, checked before the work is done: bytes, inputs, tokens and pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .statuses import RequestError

if TYPE_CHECKING:
    from .values import Item

# The most tokens of an image. It takes about as long on the device as a text of that many.
IMAGE_TOKENS = 800
# The most tokens that the prompt adds to a text.
_PROMPT_TOKENS = 8
_RETRY_S = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """
    max_body_bytes, max_inputs: for one request.
    max_image_pixels: for one image.
    max_pdf_pages: for one PDF, which is a request of its own.
    max_bytes_under_way: for the bodies of all requests together, from their first byte to their answer.
    max_tokens_under_way: for all requests together. A text counts as many tokens as it has bytes, which is never too
        few, and at most the length at which texts are cut or refused; a PDF counts as if it had `max_pdf_pages`.
    max_pixels_under_way: for all images that wait or are being decoded.
    shares: how many processes share what may be under way. A request that is larger than a share is taken by a process
        in which nothing else is under way.
    """

    max_body_bytes: int = 32 * 2**20
    max_inputs: int = 2048
    max_image_pixels: int = 50_000_000
    max_pdf_pages: int = 32
    max_bytes_under_way: int = 512 * 2**20
    max_tokens_under_way: int = 4 * 2**20
    max_pixels_under_way: int = 400_000_000
    shares: int = 1


class Budget:
    """What the requests under way have claimed together. Used from one event loop."""

    def __init__(self, limits: Limits, max_length: int):
        self.limits = limits
        self.num_bytes = self.num_tokens = self.num_pixels = self.num_requests = 0
        self._max_length = max_length

    @contextmanager
    def claim(self) -> Iterator[Claim]:
        """The claim of one request, which is given back at the end of the context."""
        claim = Claim(self)
        self.num_requests += 1
        try:
            yield claim
        finally:
            self.num_requests -= 1
            self.num_bytes -= claim.num_bytes
            self.num_tokens -= claim.num_tokens
            self.num_pixels -= claim.num_pixels

    def cost(self, items: Iterable[Item]) -> int:
        """An upper bound of the inputs' tokens."""
        return sum(self._cost(item) for item in items)

    def _cost(self, item: Item) -> int:
        if item.kind == "image":
            return IMAGE_TOKENS
        if item.kind == "pdf":
            return IMAGE_TOKENS * self.limits.max_pdf_pages
        text = item.value
        return min((len(text) if text.isascii() else 4 * len(text)) + _PROMPT_TOKENS, self._max_length)


class Claim:
    """A request's share of the budget. Each method adds to it.

    Raises:
        RequestError: 413 for more than the whole budget, 429 for more than is free.
    """

    def __init__(self, budget: Budget):
        self._budget = budget
        self.num_bytes = self.num_tokens = self.num_pixels = 0

    def take_bytes(self, count: int) -> None:
        self._take("num_bytes", count, self._budget.limits.max_bytes_under_way, "the body is too large")

    def check_count(self, values: Any) -> None:
        """Checks the number of inputs in the value of a field, before they are looked at."""
        most = self._budget.limits.max_inputs
        # Token ids are one input, however many there are.
        if isinstance(values, list) and len(values) > most and type(values[0]) is not int:
            raise RequestError(413, "too_many_inputs", f"{len(values)} inputs, {most} are taken: send several requests")

    def take_items(self, items: Sequence[Item]) -> None:
        """Adds the inputs' tokens."""
        limits = self._budget.limits
        count = self._budget.cost(items)
        self._take("num_tokens", count, limits.max_tokens_under_way, "the inputs are too long together")

    def take_pixels(self, count: int) -> None:
        limit = self._budget.limits.max_pixels_under_way
        self._take("num_pixels", count, limit, "the images are too large together")

    def _take(self, name: str, count: int, limit: int, never: str) -> None:
        budget = self._budget
        own, taken = getattr(self, name) + count, getattr(budget, name) + count
        if own > limit:
            raise RequestError(413, "request_too_large", f"{never}: send several requests")
        is_alone = own == taken
        if not is_alone and taken > limit // budget.limits.shares:
            raise RequestError(
                429,
                "rate_concurrency_limit_exceeded",
                "too much is under way: try again",
                {"Retry-After": str(_RETRY_S)},
            )
        setattr(budget, name, taken)
        setattr(self, name, own)
