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
# What LanceDB says of files that are not there or not whole.
_OF_FILES = re.compile(r"LanceError\(IO\)|lance error: Not found|[Cc]orrupt")


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
            concerning_files = _of_folder(address, error)
            if concerning_files is None:
                raise
            raise concerning_files from error
        reason = _reason(error)
        raise IndexUnreachableError(
            f"{address} can't be read or written: check its name, its region and the credentials in the environment "
            f"({reason})"
        ) from error


def _of_folder(address: str, error: Exception) -> IndexUnreachableError | None:
    """The error for a folder; None where it is not about its files."""
    number = error.errno if isinstance(error, OSError) else _number(str(error))
    if number is not None:
        return IndexUnreachableError(
            f"{address} can't be read or written: {os.strerror(number)}. Make room there, or let it be written to, and "
            "do the same again: it goes on"
        )
    if _OF_FILES.search(str(error)):
        return IndexUnreachableError(
            f"{address} can't be read: files in it are missing or damaged. Delete it and make it again "
            f"({_reason(error)})"
        )
    return None


def _reason(error: Exception) -> str:
    """Without the line of LanceDB's source that follows."""
    return re.split(r", /\S+\.rs:\d+|, location: ", str(error))[0][:_LONGEST_REASON]


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
