"""One file to passages, by its format."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from ...errors import EmptyInputError, JinaEmbeddingsError
from ...inputs.pdf import num_pdf_pages, pdf_texts
from ...pipeline.readers import Reader
from ...pipeline.rows import Failure, Row
from ...pipeline.text import decode, read_bytes
from ..index import Passage
from ..index.passage import digest_of
from .cleaning import cleaned
from .encoding import declared_encoding
from .html import html_sections
from .hyphens import Hyphens
from .markdown import markdown_sections
from .options import CutOptions
from .sections import Lines, Section, cut, paragraphs

CUTTER = 3
"""Counts up when files are cut in another way: documents are then cut again, and equal passages keep their vectors."""

_HTML = (".html", ".htm", ".xhtml")
_MARKDOWN = (".md", ".markdown", ".mdown")

Cut: TypeAlias = "Iterator[Passage | Failure]"


def format_of(path: str, kind: str) -> str:
    """`text`, `markdown`, `html`, `pdf`, `image`, `jsonl` or `csv`; kind: that of `pipeline.files.kind_of`."""
    suffix = os.path.splitext(path)[1].lower()
    if kind != "text":
        return kind
    return "html" if suffix in _HTML else "markdown" if suffix in _MARKDOWN else "text"


def passages_of(path: str, name: str, form: str, digest: str, options: CutOptions) -> Cut:
    """The passages of a file, and what should have been one. Control characters are spaces, whatever has them.

    path: what to open. name: what the index calls it. form: its format. digest: of its bytes.

    Raises: InputError for a file that can't be used at all, OSError.
    """
    for item in _passages(path, name, form, digest, options):
        yield cleaned(item) if isinstance(item, Passage) else item


def _passages(path: str, name: str, form: str, digest: str, options: CutOptions) -> Cut:
    metadata = {**options.metadata, "format": form}
    if form == "image":
        yield Passage(name, "image", image=name, metadata=metadata, content=digest_of("image", digest))
    elif form == "pdf":
        yield from _pdf(path, name, digest, metadata, options)
    elif form in ("jsonl", "csv"):
        yield from _records(path, name, metadata, options)
    else:
        yield from _text(read_text(path, form), name, form, metadata, options)


def read_text(path: str, form: str) -> str:
    """The text of a file; one of HTML says its encoding itself. Raises InputError for what is no text, OSError."""
    data = read_bytes(path)
    return decode(data, declared_encoding(data) if form == "html" else None)


def _text(text: str, name: str, form: str, metadata: dict[str, str], options: CutOptions) -> Iterator[Passage]:
    sections: Iterable[Section]
    if form == "markdown":
        sections = markdown_sections(text)
    elif form == "html":
        sections = html_sections(text)
    else:
        sections = [Section("", tuple(paragraphs(text)))]
    lines = Lines(text)
    for title, block in cut(sections, options.size):
        # Blocks of a text are joined by a blank line, or by whatever stands between them there.
        own = text[block.start : block.end] if form != "html" and block.end else ""
        yield Passage(
            name,
            "text",
            own if 0 < len(own) <= options.size else block.text,
            block.start,
            block.end,
            lines.at(block.start),
            lines.at(max(block.start, block.end - 1)),
            title,
            metadata=metadata,
        )


def _pdf(path: str, name: str, digest: str, metadata: dict[str, str], options: CutOptions) -> Cut:
    num_pages = num_pdf_pages(path)
    if options.pdf in ("both", "text"):
        found = False
        pages = list(pdf_texts(path))
        hyphens = Hyphens(page for page in pages if isinstance(page, str))
        for number, page in enumerate(pages, 1):
            if isinstance(page, JinaEmbeddingsError):
                yield Failure(f"{name}#page={number}", page)
                continue
            for _, block in cut([Section("", tuple(paragraphs(hyphens.joined(page))))], options.size):
                found = True
                where = {**metadata, "page": str(number)}
                yield Passage(name, "text", block.text, block.start, block.end, metadata=where)
        if not found and options.pdf == "text":
            raise EmptyInputError("a PDF without text: index its pages as images with `pdf` pages")
    if options.pdf in ("both", "pages"):
        for number in range(1, num_pages + 1):
            page_name, where = f"{name}#page={number}", {**metadata, "page": str(number)}
            content = digest_of("page", digest, str(number))
            yield Passage(name, "page", image=page_name, metadata=where, content=content)


def _records(path: str, name: str, metadata: dict[str, str], options: CutOptions) -> Cut:
    for item in Reader().read([path]):
        if isinstance(item, Failure):
            yield item
        elif isinstance(item, Row):
            record = {**metadata, "record": item.id}
            if item.kind == "text":
                for _, block in cut([Section("", tuple(paragraphs(item.input["text"])))], options.size):
                    yield Passage(name, "text", block.text, metadata=record)
            else:
                image = str(item.input["image"])
                yield Passage(name, "image", image=image, metadata=record, content=digest_of("image", _digest(image)))


def _digest(image: str) -> str:
    """Of a picture's bytes; of its name where it is no file that can be read."""
    try:
        with open(image, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except (OSError, ValueError):
        return image
