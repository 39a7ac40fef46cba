"""Divides office documents into sections: a .docx by headings, a .pptx by slides, an .xlsx by sheets."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import DependencyError, InputError, JinaEmbeddingsError
from .html import html_sections
from .sections import Block, Section

_MAX_UNPACKED_BYTES = 2**29
_CELL_SEPARATOR = " | "


def docx_sections(path: str) -> list[Section]:
    """Returns a section for each heading. A row of a table is one line; images are left out.

    Raises InputError, DependencyError, OSError.
    """
    with _reading(path, "mammoth"):
        import mammoth

        with open(path, "rb") as file:
            page = mammoth.convert_to_html(
                file,
                style_map="p[style-name='Title'] => h1:fresh",
                convert_image=mammoth.images.img_element(lambda image: {}),
            ).value
    return [Section(section.title, tuple(map(_without_offsets, section.blocks))) for section in html_sections(page)]


def slides(path: str) -> list[Section]:
    """Returns a section for each slide: its title, its texts, its tables with one line for each row, and its notes.

    Raises InputError, DependencyError, OSError.
    """
    with _reading(path, "python-pptx"):
        from pptx import Presentation

        return [_slide(slide) for slide in Presentation(path).slides]


def sheets(path: str) -> list[Section]:
    """Returns a section for each sheet, with a block for each row that isn't empty; formulas are read as their values.

    Raises InputError, DependencyError, OSError.
    """
    with _reading(path, "openpyxl"):
        from openpyxl import load_workbook

        book = load_workbook(path, read_only=True, data_only=True)
        try:
            return [
                Section(sheet.title, tuple(_blocks(map(_row, sheet.iter_rows(values_only=True)))))
                for sheet in book.worksheets
            ]
        finally:
            book.close()


def _slide(slide: Any) -> Section:
    title = slide.shapes.title
    shapes = (shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id)
    texts = [text for shape in shapes for text in _shape_texts(shape)]
    if slide.has_notes_slide:
        texts.append(slide.notes_slide.notes_text_frame.text)
    return Section("" if title is None else " ".join(title.text_frame.text.split()), tuple(_blocks(iter(texts))))


def _shape_texts(shape: Any) -> Iterator[str]:
    if shape.has_text_frame:
        # python-pptx returns a line break within a paragraph as a vertical tab.
        yield shape.text_frame.text.replace("\v", "\n")
    if getattr(shape, "has_table", False):
        yield "\n".join(_row(cell.text_frame.text for cell in row.cells) for row in shape.table.rows)
    for inner in getattr(shape, "shapes", ()):
        yield from _shape_texts(inner)


def _row(values: Any) -> str:
    return _CELL_SEPARATOR.join(" ".join(str(value).split()) for value in values if value not in (None, ""))


def _blocks(texts: Iterator[str]) -> Iterator[Block]:
    return (Block(text.strip(), 0, 0) for text in texts if text.strip())


def _without_offsets(block: Block) -> Block:
    return Block(block.text, 0, 0)


@contextmanager
def _reading(path: str, package: str) -> Iterator[None]:
    """Turns errors of the package that reads a file into InputError, and refuses what unpacks to too many bytes."""
    try:
        with zipfile.ZipFile(path) as file:
            if sum(entry.file_size for entry in file.infolist()) > _MAX_UNPACKED_BYTES:
                raise InputError(f"unpacks to over {_MAX_UNPACKED_BYTES >> 20} MiB: save it in parts")
        yield
    except (JinaEmbeddingsError, OSError):
        raise
    except ImportError:
        raise DependencyError(f"needs {package}: pip install 'jina-embeddings-vllm[documents]'") from None
    except Exception as error:  # for broken files, these packages raise almost any exception
        raise InputError(f"broken or encrypted: {error}") from error
