"""Requests and tokens a minute for each key."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from .statuses import RequestError


class Rates:
    """Limits how much each key may ask for in a minute; None stands for no limit.

    A request counts when it arrives. Its tokens count when it has been answered, since they aren't known before; a key
    that has used up its tokens is refused until part of the minute has passed.
    """

    def __init__(self, requests_per_minute: int | None = None, tokens_per_minute: int | None = None):
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._requests = None if requests_per_minute is None else RateLimitItemPerMinute(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else RateLimitItemPerMinute(tokens_per_minute)

    def enter(self, key: str) -> None:
        """Counts a request. Raises RequestError 429 if the key has used up a limit."""
        if self._tokens is not None and not self._limiter.test(self._tokens, key, "tokens"):
            raise self._refusal(self._tokens, key, "tokens", "rate_token_limit_exceeded")
        if self._requests is not None and not self._limiter.hit(self._requests, key, "requests"):
            raise self._refusal(self._requests, key, "requests", "rate_request_limit_exceeded")

    def charge(self, key: str, num_tokens: int) -> None:
        """Counts the tokens of an answered request."""
        if self._tokens is not None and num_tokens:
            # A request with more tokens than are left counts as all that are left, since the limiter takes no more.
            left = self._limiter.get_window_stats(self._tokens, key, "tokens").remaining
            self._limiter.hit(self._tokens, key, "tokens", cost=max(1, min(num_tokens, left)))

    def remaining(self, key: str) -> list[tuple[bytes, bytes]]:
        """Headers with what is left of each limit, by the names of the hosted API."""
        headers = []
        for name, limit in (("Requests", self._requests), ("Tokens", self._tokens)):
            if limit is not None:
                left = self._limiter.get_window_stats(limit, key, name.lower()).remaining
                headers.append((f"x-ratelimit-remaining-{name.lower()}".encode(), b"%d" % left))
        return headers

    def _refusal(self, limit: RateLimitItemPerMinute, key: str, what: str, code: str) -> RequestError:
        reset = self._limiter.get_window_stats(limit, key, what).reset_time
        retry = str(max(1, math.ceil(reset - time.time())))
        return RequestError(429, code, f"{limit.amount} {what} a minute are used up", {"Retry-After": retry})
