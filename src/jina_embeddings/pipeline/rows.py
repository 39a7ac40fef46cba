"""What passes through a bulk run: rows, and what should have been one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..errors import InputError


class NothingInsideError(InputError):
    """A file without anything that could be embedded; in a folder it is left out."""


@dataclass(frozen=True, slots=True)
class Row:
    """One input of the model.

    id: the path, `path#page=3`, `path:line` (both from 1), or the id that a record gives itself.
    input: what `JinaEmbeddings.encode` takes, `{"text": ...}` or `{"image": ...}`.
    kept: fields of the record that are written beside the vector.
    """

    id: str
    kind: Literal["text", "image"]
    input: dict[str, Any]
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """What should have been a row, and why it is none."""

    id: str
    error: Exception
    kept: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        message = str(self.error)
        # An image's error starts with its path already.
        return message if message.startswith(repr(self.id)) else f"{self.id}: {message}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file met in a folder that has nothing to embed: empty, or binary and neither image nor PDF."""

    id: str


Item: TypeAlias = "Row | Failure | LeftOut"


def printable(text: str) -> str:
    """What UTF-8 can hold: a file's name may be any bytes, and a JSON string half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode()
