"""The inputs in a request, whatever the dialect: texts, images and PDFs, none of them opened yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import InputError

Decode = Callable[[list[int]], str]
"""From token ids to the text that they stand for."""

_DATA_URL = re.compile(r"data:[\w.+/-]*(;[\w=.+-]+)*;base64,", re.ASCII)
_PDF_URL = "data:application/pdf"
_FIELDS = {"text": "text", "image": "image", "bytes": "image", "url": "image", "pdf": "pdf"}


@dataclass(frozen=True, slots=True)
class Item:
    """value: a text; or of an image or a PDF base64, a data URL or a URL, as the client wrote it."""

    kind: Literal["text", "image", "pdf"]
    value: str


def items_of(value: Any, decode: Decode | None = None) -> list[Item]:
    """Each input. decode: None where token ids are not taken.

    Raises:
        InputError: no input, what is none, or a PDF beside others.
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
        # A text may begin like anything; only what can be nothing else is taken for an image.
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
    """The base64 of a data URL, None for what is no such URL."""
    match = _DATA_URL.match(text[:200])
    return None if match is None else text[match.end() :]


def decode_with(encoding: Any) -> Decode:
    """By one of tiktoken's encodings. The result raises InputError for a number that is no id of it."""

    def decode(token_ids: list[int]) -> str:
        try:
            return str(encoding.decode(token_ids))
        except (KeyError, OverflowError) as error:
            raise InputError(f"token ids that {encoding.name} doesn't have: {error}") from None

    return decode
