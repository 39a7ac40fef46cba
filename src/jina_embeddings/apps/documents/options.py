"""How files are cut."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...errors import OptionError, suggest

PDF_PARTS = ("both", "text", "pages")


@dataclass(frozen=True, slots=True)
class CutOptions:
    """
    size: most characters of a passage; about four are a token of English.
    pdf: index the `text` of a PDF, its `pages` as images, or `both`.
    metadata: given to every passage; None for what the index has been given for a document before.
    text_field, image_field: the field of a record in JSON lines, or the column of a table, that holds the input.

    Raises OptionError for a value out of range.
    """

    size: int = 1200
    pdf: Literal["both", "text", "pages"] = "both"
    metadata: Mapping[str, str] | None = None
    text_field: str = "text"
    image_field: str = "image"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 50:
            raise OptionError(f"a passage has 50 characters or more, not {self.size!r}")
        if self.pdf not in PDF_PARTS:
            raise OptionError(f"unknown part of a PDF {self.pdf!r}{suggest(self.pdf, PDF_PARTS)}")

    def key(self) -> str:
        """Equal for options that cut in the same way."""
        return json.dumps([self.size, self.pdf, self.text_field, self.image_field])
