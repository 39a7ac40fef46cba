"""`CutOptions`: how files are cut into passages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...errors import OptionError, suggest

PDF_PARTS = ("both", "text", "pages")


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How files are cut into passages.

    size: the most characters of a passage; English has about four a token.
    pdf: whether to index the `text` of a PDF, its `pages` as images, or `both`.
    metadata: for every passage; None keeps the metadata that a document has in the index.
    text_field, image_field: the field of a JSON record, or the column of a table, with the text or the image.

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
        """A string that is equal for options which cut in the same way."""
        return json.dumps([self.size, self.pdf, self.text_field, self.image_field])
