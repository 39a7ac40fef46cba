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
# Four times what the model reads. They are turned into text before its tokens are counted.
_MAX_IDS = 131_072
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
    if listed and _is_ids(listed):
        listed = [listed]
    items = _items(listed, decode or _unknown_ids, '{"image": base64 or data URL}, or {"pdf": ...} alone')
    if len(items) > 1 and any(item.kind == "pdf" for item in items):
        raise InputError("a PDF stands alone: its pages are the answer; send others in requests of their own")
    return items


def pageless_items_of(values: list[Any]) -> list[Item]:
    """The inputs among which there can be neither PDFs, which have several pages, nor token ids.

    Raises:
        InputError: there is no input, or a value is none.
    """
    items = _items(values, _no_ids, '{"image": base64 or data URL}')
    if any(item.kind == "pdf" for item in items):
        raise InputError("no PDF is taken here: send its pages as images")
    return items


def _items(values: list[Any], decode: Decode, others: str) -> list[Item]:
    if not values:
        raise InputError("the list is empty: give at least one text or image")
    items: list[Item] = []
    try:
        items.extend(_item(value, decode, others) for value in values)
    except InputError as error:
        raise (error.at(len(items)) if len(values) > 1 else error) from None
    return items


def _item(value: Any, decode: Decode, others: str) -> Item:
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
        if len(value) > _MAX_IDS:
            raise InputError(f"{len(value)} token ids, {_MAX_IDS} are taken: send several inputs")
        return Item("text", decode(value))
    raise InputError(f'expected a text, {{"text": ...}}, {others}')


def _unknown_ids(token_ids: list[int]) -> str:
    raise InputError(
        "these are token ids, and this server was not told of which tokenizer: send texts (LangChain: "
        "check_embedding_ctx_length=False), or have `token_ids` set when it starts"
    )


def _no_ids(token_ids: list[int]) -> str:
    raise InputError("these are token ids: send a text")


def _is_ids(value: list[Any]) -> bool:
    return set(map(type, value)) <= {int}


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
