"""Reads the inputs of a request in any dialect: texts, images and PDFs, which are not opened yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import InputError

Decode = Callable[[list[int]], str]
"""Turns token ids into their text."""

_DATA_URL = re.compile(r"data:[\w.+/-]*(;[\w=.+-]+)*;base64,", re.ASCII)
_PDF_URL = "data:application/pdf"
_FIELDS = {"text": "text", "image": "image", "bytes": "image", "url": "image", "pdf": "pdf"}


@dataclass(frozen=True, slots=True)
class Item:
    """One input. value: a text; for an image or a PDF, the base64, data URL or URL that the client sent."""

    kind: Literal["text", "image", "pdf"]
    value: str


def items_of(value: Any, decode: Decode | None = None) -> list[Item]:
    """The inputs in the value of a request's field. decode: turns token ids into text; None if they are refused.

    Raises:
        InputError: there is no input, a value is no input, or a PDF is not alone.
    """
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise InputError("input is empty: give at least one text or image")
    if _is_ids(listed):
        listed = [listed]
    items = [_item(item, decode) for item in listed]
    if len(items) > 1 and any(item.kind == "pdf" for item in items):
        raise InputError("a PDF stands alone: its pages are the answer; send others in requests of their own")
    return items


def _item(value: Any, decode: Decode | None) -> Item:
    if isinstance(value, str):
        # A text may begin with "data:" too; only a whole data URL is taken for an image.
        if value[:5] == "data:" and data_of_url(value) is not None:
            return Item("pdf" if value.startswith(_PDF_URL) else "image", value)
        return Item("text", value)
    if isinstance(value, dict) and len(value) == 1:
        ((field, content),) = value.items()
        if field in _FIELDS and isinstance(content, str):
            return Item(_FIELDS[field], content)  # type: ignore[arg-type]
    if isinstance(value, list) and value and _is_ids(value):
        if decode is None:
            raise InputError(
                "input holds token ids, and this server was not told of which tokenizer: send texts (LangChain: "
                "check_embedding_ctx_length=False), or set `token_ids` when it starts"
            )
        return Item("text", decode(value))
    raise InputError('an input is a text, {"text": ...}, {"image": base64 or data URL}, or one {"pdf": ...} alone')


def _is_ids(value: list[Any]) -> bool:
    return all(isinstance(item, int) and not isinstance(item, bool) for item in value)


def data_of_url(text: str) -> str | None:
    """The base64 of a data URL; None if the text isn't one."""
    match = _DATA_URL.match(text[:200])
    return None if match is None else text[match.end() :]


def decode_with(encoding: Any) -> Decode:
    """A `Decode` by one of tiktoken's encodings, which raises InputError for a number that is no id of it."""

    def decode(token_ids: list[int]) -> str:
        try:
            return str(encoding.decode(token_ids))
        except (KeyError, OverflowError) as error:
            raise InputError(f"token ids that {encoding.name} doesn't have: {error}") from None

    return decode
