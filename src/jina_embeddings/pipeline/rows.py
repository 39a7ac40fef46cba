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
    kept: of a record, the fields beside the input; in a bulk run, those that are written beside the vector.
    where: `path:line` of a record that gives itself an id, for messages.
    line: of a record, 0 for what is none.
    """

    id: str
    kind: Literal["text", "image"]
    input: dict[str, Any]
    kept: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """What should have been a row, and why it is none. where: as in `Row`."""

    id: str
    error: Exception
    kept: dict[str, Any] = field(default_factory=dict)
    where: str = ""

    def __str__(self) -> str:
        message = str(self.error)
        if self.where:
            return f"{self.where} (id {self.id}): {message}"
        # An image's error starts with its path already.
        if message.startswith(repr(self.id)):
            return message
        named, _, rest = message.partition(": ")
        return f"{self.id}: {rest if named.endswith(f'/{self.id}{named[:1]}') else message}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file met in a folder that has nothing to embed, and why: it is empty, or binary and no image or PDF."""

    id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.id}: {self.reason}"


Item: TypeAlias = "Row | Failure | LeftOut"


def printable(text: str) -> str:
    """What UTF-8 can hold: a file's name may be any bytes, and a JSON string half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode()
