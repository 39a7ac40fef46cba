"""Addresses of object stores: what LanceDB says when one can't be reached becomes one clear error."""

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
    """Whether it is no folder on this machine."""
    return "://" in address


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Raises IndexUnreachableError for what goes wrong inside with an address of an object store."""
    try:
        yield
    except JinaEmbeddingsError:
        raise
    except (RuntimeError, ValueError, OSError) as error:
        if not is_remote(address):
            raise
        # A place in LanceDB's own source follows.
        reason = re.split(r", /\S+\.rs:\d+|, location: ", str(error))[0][:_LONGEST_REASON]
        raise IndexUnreachableError(
            f"{address} can't be read or written: check its name, its region and the credentials in the environment "
            f"({reason})"
        ) from error


def reaches(method: Method) -> Method:
    """A method of something with an `address`, all of it within `reaching`."""

    @wraps(method)
    def within(self: Any, *arguments: Any, **options: Any) -> Any:
        with reaching(self.address):
            return method(self, *arguments, **options)

    return cast(Method, within)
