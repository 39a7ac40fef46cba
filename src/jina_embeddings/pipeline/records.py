"""Records of files (JSON objects, cells of CSV, rows of tables) as rows to embed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ImageError, InputError
from .long_lines import MAX_LINE_BYTES, too_long_line
from .rows import Failure, Row, printable

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://|data:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fields:
    """Columns and JSON fields that hold the text, the path or bytes of an image, and the id; and those to keep."""

    text: str = "text"
    image: str = "image"
    id: str = "id"
    keep: tuple[str, ...] = ()

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys((self.text, self.image, self.id, *self.keep)))


def row_of(record: dict[str, Any], name: str, fields: Fields, folder: Path) -> Row | Failure:
    """The row of one record; an empty field counts as one that isn't there.

    name: of a record without an id. folder: where the paths of its images begin.
    """
    given = record.get(fields.id)
    own = name if given in (None, "") else printable(str(given))
    kept = {column: record.get(column) for column in fields.keep}
    text, image = record.get(fields.text), record.get(fields.image)
    if isinstance(image, dict):  # as `datasets` stores one: {"bytes": ..., "path": ...}
        image = image.get("bytes") or image.get("path")
    has_text, has_image = text not in (None, ""), image not in (None, "", b"")
    if has_text == has_image:
        return Failure(own, InputError(_why_not_one(record, fields, has_both=has_text)), kept)
    if has_text:
        return _text_row(own, text, fields.text, kept)
    if isinstance(image, bytes):
        return Row(own, "image", {"image": image}, kept)
    if not isinstance(image, str):
        return Failure(own, ImageError(f"{fields.image!r} is a path or a URL, not {type(image).__name__}"), kept)
    return Row(own, "image", {"image": image if _URL.match(image) else folder / image}, kept)


def _why_not_one(record: dict[str, Any], fields: Fields, *, has_both: bool) -> str:
    empty = [repr(name) for name in (fields.text, fields.image) if name in record]
    if empty and not has_both:
        return f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty"
    wrong = f"has both {fields.text!r} and" if has_both else f"has neither {fields.text!r} nor"
    return f"{wrong} {fields.image!r}: choose the fields with `text_field` and `image_field`"


def _text_row(own: str, text: object, field: str, kept: dict[str, Any]) -> Row | Failure:
    if not isinstance(text, str):
        return Failure(own, InputError(f"{field!r} is a string, not {type(text).__name__}"), kept)
    return Row(own, "text", {"text": text}, kept)


def json_object(line: bytes) -> dict[str, Any]:
    """Raises InputError for a line that is no JSON object, or too long."""
    if len(line) > MAX_LINE_BYTES:
        raise too_long_line()
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a line of JSON in UTF-8: {error}") from None
    if not isinstance(record, dict):
        raise InputError(f"expected a JSON object, not {type(record).__name__}")
    return record
