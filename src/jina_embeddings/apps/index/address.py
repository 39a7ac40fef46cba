"""Raises IndexUnreachableError for what LanceDB raises when an object store can't be reached."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from ...errors import IndexUnreachableError, JinaEmbeddingsError

Method = TypeVar("Method", bound=Callable[..., Any])

_LONGEST_REASON = 300


def is_remote(address: str) -> bool:
    """Returns whether an address is that of an object store, not a folder."""
    return "://" in address


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Converts errors of the block that concern an object store to IndexUnreachableError."""
    try:
        yield
    except JinaEmbeddingsError:
        raise
    except (RuntimeError, ValueError, OSError) as error:
        if not is_remote(address):
            raise
        # Without the line of LanceDB's source that follows.
        reason = re.split(r", /\S+\.rs:\d+|, location: ", str(error))[0][:_LONGEST_REASON]
        raise IndexUnreachableError(
            f"{address} can't be read or written: check its name, its region and the credentials in the environment "
            f"({reason})"
        ) from error


def reaches(method: Method) -> Method:
    """Decorator that runs a method of an object with an `address` within `reaching`."""

    @wraps(method)
    def within(self: Any, *arguments: Any, **options: Any) -> Any:
        with reaching(self.address):
            return method(self, *arguments, **options)

    return cast(Method, within)
