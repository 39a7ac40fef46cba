"""Cuts one file into passages, by its format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from ...errors import EmptyInputError, JinaEmbeddingsError
from ...inputs.pdf import num_pdf_pages, pdf_texts
from ...inputs.sources import ANY_SOURCE, SourcePolicy
from ...pipeline.files import kind_of
from ...pipeline.readers import Reader
from ...pipeline.rows import Failure, LeftOut, Row, printable
from ...pipeline.text import decode, read_bytes, unpacked_name
from ..index import Passage
from ..index.passage import digest_of
from .cleaning import cleaned
from .encoding import declared_encoding
from .front_matter import read_front_matter
from .html import html_sections
from .hyphens import Hyphens
from .mail import read_message
from .markdown import markdown_sections
from .notebook import notebook_markdown
from .office import docx_sections, sheets, slides
from .options import CutOptions
from .records import filterable, image_digest
from .sections import Lines, Section, cut, join_title, paragraphs

CUTTER_VERSION = 3
"""To be increased when files are cut differently: an index then cuts its documents again, and equal passages keep their
vectors."""

_OFFICE = {".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx"}
_TEXTS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdown": "markdown",
    ".ipynb": "notebook",
    ".eml": "mail",
} | dict.fromkeys((".html", ".htm", ".xhtml"), "html")

Cut: TypeAlias = "Iterator[Passage | Failure | LeftOut]"


def format_of(path: str) -> str:
    """`text`, `markdown`, `html`, `notebook`, `mail`, `docx`, `pptx`, `xlsx`, `pdf`, `image`, `jsonl` or `csv`.

    Raises as `pipeline.files.kind_of` does.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _OFFICE and os.path.isfile(path):
        return _OFFICE[suffix]
    kind = kind_of(path)
    return _TEXTS.get(os.path.splitext(unpacked_name(path))[1], "text") if kind == "text" else kind


def passages_of(
    path: str, name: str, form: str, digest: str, options: CutOptions, policy: SourcePolicy = ANY_SOURCE
) -> Cut:
    """Yields the passages of a file, and a `Failure` or `LeftOut` for each part of it that gives none.

    path: the file to open.
    name: the file's name in the index.
    form: its format, as `format_of` returns it.
    digest: the digest of its bytes.
    policy: the sources from which images of records may be read.

    Raises: InputError for a file that can't be used at all, OSError.
    """
    for item in _passages(path, name, form, digest, options, policy):
        yield cleaned(item) if isinstance(item, Passage) else item


def _passages(path: str, name: str, form: str, digest: str, options: CutOptions, policy: SourcePolicy) -> Cut:
    metadata = {"format": form}
    if form == "image":
        yield Passage(name, "image", image=printable(path), metadata=metadata, content=digest_of("image", digest))
    elif form == "pdf":
        yield from _pdf(path, name, digest, metadata, options)
    elif form in ("jsonl", "csv"):
        yield from _records(path, name, metadata, options, policy)
    elif form == "docx":
        yield from _without_offsets(docx_sections(path), name, metadata, options)
    elif form == "xlsx":
        yield from _without_offsets(sheets(path), name, metadata, options, separator="\n")
    elif form == "pptx":
        for number, slide in enumerate(slides(path), 1):
            yield from _without_offsets([slide], name, {**metadata, "page": str(number)}, options)
    elif form == "mail":
        yield from _mail(path, name, metadata, options)
    elif form == "notebook":
        sections = markdown_sections(notebook_markdown(read_text(path, form)))
        yield from _without_offsets(sections, name, metadata, options)
    else:
        yield from _text(read_text(path, form), name, form, metadata, options)


def read_text(path: str, form: str) -> str:
    """Decodes a text file, HTML by the encoding that it declares. Raises InputError if it isn't text, OSError."""
    data = read_bytes(path)
    return decode(data, declared_encoding(data) if form == "html" else None)


def _text(text: str, name: str, form: str, metadata: dict[str, Any], options: CutOptions) -> Iterator[Passage]:
    sections: Iterable[Section]
    if form == "markdown":
        matter = read_front_matter(text)
        text, metadata = matter.text, {**metadata, **filterable(matter.fields)}
        sections = _under(matter.fields.get("title"), markdown_sections(text))
    elif form == "html":
        sections = html_sections(text)
    else:
        sections = [Section("", tuple(paragraphs(text)))]
    lines = Lines(text)
    for title, block in cut(sections, options.size):
        # `cut` joins blocks with a blank line. If the file itself has something else between them, that is kept.
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


def _under(title: object, sections: list[Section]) -> Iterator[Section]:
    """Puts sections under the title in a file's front matter, unless its first heading repeats that title."""
    above = " ".join(title.split()) if isinstance(title, str) else ""
    for section in sections:
        has_it = section.title == above or section.title.startswith(f"{above} > ")
        yield section if has_it else replace(section, title=join_title(above, section.title))


def _without_offsets(
    sections: list[Section], name: str, metadata: dict[str, str], options: CutOptions, separator: str = "\n\n"
) -> Iterator[Passage]:
    """Yields passages without offsets and line numbers, for formats whose text is not the file's own characters."""
    for title, block in cut(sections, options.size, separator):
        yield Passage(name, "text", block.text, title=title, metadata=metadata)


def _mail(path: str, name: str, metadata: dict[str, str], options: CutOptions) -> Cut:
    message = read_message(read_bytes(path))
    yield from _without_offsets(message.sections, name, {**metadata, **message.headers}, options)
    yield from (
        LeftOut(f"{name} ({attachment})", "an attachment: save it as a file") for attachment in message.attachments
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
            image, where = f"{printable(path)}#page={number}", {**metadata, "page": str(number)}
            content = digest_of("page", digest, str(number))
            yield Passage(name, "page", image=image, metadata=where, content=content)


def _records(path: str, name: str, metadata: dict[str, str], options: CutOptions, policy: SourcePolicy) -> Cut:
    for item in Reader(options.text_field, options.image_field).read([path]):
        if isinstance(item, Failure):
            # The reader names records by the file's path; the index calls the file `name`.
            where = item.where or item.id
            line = where.removeprefix(printable(path))
            yield Failure(item.id if item.where else name + line, item.error, where=name + line if item.where else "")
        elif isinstance(item, Row):
            of_record = {**metadata, **filterable(item.kept)}
            if item.kind == "text":
                for _, block in cut([Section("", tuple(paragraphs(item.input["text"])))], options.size):
                    yield Passage(name, "text", block.text, 0, 0, item.line, item.line, metadata=of_record)
            else:
                image = str(item.input["image"])
                content = digest_of("image", image_digest(image, policy))
                yield Passage(
                    name, "image", line=item.line, end_line=item.line, image=image, metadata=of_record, content=content
                )
