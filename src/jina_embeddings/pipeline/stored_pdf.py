"""PDFs of an object store: copied here once, and kept for as long as one of their pages is waited for."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ..inputs.pdf import num_pdf_pages
from .stores import open_address
from .temporary import temporary_files


class StoredPdf:
    """A copy of a PDF in a temporary file, which goes when nobody holds this object any more."""

    def __init__(self, address: str):
        with temporary_files(), open_address(address) as stored:
            self._file = tempfile.NamedTemporaryFile(prefix="jina-embeddings-", suffix=".pdf")  # noqa: SIM115
            shutil.copyfileobj(stored, self._file)
            self._file.flush()

    @property
    def num_pages(self) -> int:
        return num_pdf_pages(self._file.name)

    def page(self, number: int) -> Path:
        """What `JinaEmbeddings.encode` takes for a page, from 1; it holds the copy."""
        page = _Page(f"{self._file.name}#page={number}")
        page.pdf = self
        return page


class _Page(type(Path())):  # type: ignore[misc]
    pdf: StoredPdf
