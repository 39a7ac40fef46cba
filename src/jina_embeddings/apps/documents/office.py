"""Documents of office programs as sections: .docx, the slides of a .pptx, the sheets of an .xlsx."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import DependencyError, InputError, JinaEmbeddingsError
from .html import html_sections
from .sections import Block, Section

_MAX_UNPACKED_BYTES = 2**29
_CELL_JOINT = " | "


def docx_sections(path: str) -> list[Section]:
    """By headings; tables by row, pictures left out. Raises InputError, DependencyError, OSError."""
    with _reading(path, "mammoth"):
        import mammoth

        with open(path, "rb") as file:
            page = mammoth.convert_to_html(
                file,
                style_map="p[style-name='Title'] => h1:fresh",
                convert_image=mammoth.images.img_element(lambda image: {}),
            ).value
    return [Section(section.title, tuple(map(_placeless, section.blocks))) for section in html_sections(page)]


def slides(path: str) -> list[Section]:
    """One section a slide, in order: its title, its texts, its tables by row, and the speaker's notes.

    Raises InputError, DependencyError, OSError.
    """
    with _reading(path, "python-pptx"):
        from pptx import Presentation

        return [_slide(slide) for slide in Presentation(path).slides]


def sheets(path: str) -> list[Section]:
    """One section a sheet; a block for each row that isn't empty, as values and not as formulas.

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
    texts = [text for shape in slide.shapes if title is None or shape.shape_id != title.shape_id for text in _of(shape)]
    if slide.has_notes_slide:
        texts.append(slide.notes_slide.notes_text_frame.text)
    return Section("" if title is None else " ".join(title.text_frame.text.split()), tuple(_blocks(iter(texts))))


def _of(shape: Any) -> Iterator[str]:
    if shape.has_text_frame:
        # A line break within a paragraph is a vertical tab.
        yield shape.text_frame.text.replace("\v", "\n")
    if getattr(shape, "has_table", False):
        yield "\n".join(_row(cell.text_frame.text for cell in row.cells) for row in shape.table.rows)
    for inner in getattr(shape, "shapes", ()):
        yield from _of(inner)


def _row(values: Any) -> str:
    return _CELL_JOINT.join(" ".join(str(value).split()) for value in values if value not in (None, ""))


def _blocks(texts: Iterator[str]) -> Iterator[Block]:
    return (Block(text.strip(), 0, 0) for text in texts if text.strip())


def _placeless(block: Block) -> Block:
    return Block(block.text, 0, 0)


@contextmanager
def _reading(path: str, package: str) -> Iterator[None]:
    """Raises InputError for what the package can't read, and for what unpacks to more than may be held in memory."""
    try:
        with zipfile.ZipFile(path) as file:
            if sum(entry.file_size for entry in file.infolist()) > _MAX_UNPACKED_BYTES:
                raise InputError(f"unpacks to over {_MAX_UNPACKED_BYTES >> 20} MiB: save it in parts")
        yield
    except (JinaEmbeddingsError, OSError):
        raise
    except ImportError:
        raise DependencyError(f"needs {package}: pip install 'jina-embeddings-vllm[documents]'") from None
    except Exception as error:  # these packages raise nearly anything for what is broken
        raise InputError(f"broken or encrypted: {error}") from error
