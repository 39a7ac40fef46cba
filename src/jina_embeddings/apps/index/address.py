"""Raises IndexUnreachableError for what LanceDB raises when a disk is full, or an object store can't be reached."""

from __future__ import annotations

import os
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
    """Converts errors of the block that concern a disk or an object store to IndexUnreachableError."""
    try:
        yield
    except JinaEmbeddingsError:
        raise
    except (RuntimeError, ValueError, OSError) as error:
        if not is_remote(address):
            number = error.errno if isinstance(error, OSError) else _number(str(error))
            if number is None:
                raise
            raise IndexUnreachableError(
                f"{address} can't be read or written: {os.strerror(number)}. Make room there, or let it be written to, "
                "and do the same again: it goes on"
            ) from error
        # Without the line of LanceDB's source that follows.
        reason = re.split(r", /\S+\.rs:\d+|, location: ", str(error))[0][:_LONGEST_REASON]
        raise IndexUnreachableError(
            f"{address} can't be read or written: check its name, its region and the credentials in the environment "
            f"({reason})"
        ) from error


def _number(message: str) -> int | None:
    """What the system said, by a message of Lance."""
    found = re.search(r"\(os error (\d+)\)|\bOs \{ code: (\d+),", message)
    return int(found[1] or found[2]) if found else None


def reaches(method: Method) -> Method:
    """Decorator that runs a method of an object with an `address` within `reaching`."""

    @wraps(method)
    def within(self: Any, *arguments: Any, **options: Any) -> Any:
        with reaching(self.address):
            return method(self, *arguments, **options)

    return cast(Method, within)
