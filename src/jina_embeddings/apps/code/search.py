"""`CodeSearch`: an index of a repository, asked in words, with code, or with documentation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ...errors import InputError, OptionError, suggest
from ..index import Hit, Index, Summary
from ..index.search import Mode
from .chunks import Chunk, cut
from .languages import LANGUAGES, language_of
from .repository import TEXT, Repository, read_source

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings

KIND = "code"
_CODE = tuple(language.name for language in LANGUAGES)


class CodeSearch:
    """Finds pieces of code.

    found = CodeSearch.open("code.index", model, create=True)
    found.update(Repository("my-project"))
    hits = found.search("where are passwords checked?")
    """

    def __init__(self, index: Index):
        self.index = index

    @classmethod
    def open(
        cls,
        address: str | os.PathLike[str],
        model: JinaEmbeddings,
        *,
        create: bool = False,
        dimension: int | None = None,
    ) -> Self:
        """See `Index.open`, whose errors it raises; the task is `code`."""
        return cls(Index.open(address, model, create=create, task="code", dimension=dimension, kind=KIND))

    def update(
        self,
        repository: Repository,
        *,
        changed: bool = False,
        advance: Callable[[], None] | None = None,
        **options: Any,
    ) -> Summary:
        """Brings the index in step with a repository; only pieces that are new are embedded.

        Args:
            changed: look only at files whose digest is not the one in the index.
            advance: called after each piece.
            options: `batch_size` and `max_length` of `JinaEmbeddings.stream`.
        """
        unchanged = repository.unchanged(self.index.store.states()) if changed else frozenset()
        return self.index.update(
            repository.documents(without=unchanged),
            gone=lambda path: path not in unchanged,
            advance=advance,
            **options,
        )

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        language: str | None = None,
        path: str | None = None,
        mode: Mode | None = None,
    ) -> list[Hit]:
        """The best pieces for a question in words, or for a text of documentation.

        Args:
            language: as `languages.LANGUAGES` name it, or `text` for all else.
            path: relative to the repository; `*` stands for anything.
            mode: as `Index.search` takes it; identifiers are words, whole and by their parts.

        Raises OptionError for a language that there is not, or a wrong mode.
        """
        return self.index.search(query, limit=limit, filters=_filters(language, path), mode=mode)

    def similar(
        self, file: Path, line: int, *, name: str = "", limit: int = 10, language: str | None = None
    ) -> list[Hit]:
        """The pieces most like the one at a line of a file, which need not be in the index; itself left out.

        Documentation is a question: unless a language is given, what is found is code, and no other documentation.

        Args:
            line: from 1.
            name: the file's path in the index.

        Raises:
            InputError: there is nothing at that line.
            OptionError: there is no such language.
        """
        source = read_source(file)
        chunk = next((chunk for chunk in cut(file.name, source) if chunk.first <= line <= chunk.last), None)
        if chunk is None:
            raise InputError(f"{file}:{line}: there is nothing at that line")
        is_code = language_of(file.name, source) is not None
        vector = self.index.model.encode_text(
            f"{chunk.symbol}\n\n{chunk.text}" if chunk.symbol else chunk.text,
            task="code",
            prompt_name="passage" if is_code else "query",
            truncate_dim=self.index.store.fingerprint.dimension,
        )
        filters = _filters(language, None) if is_code or language else {"language": _CODE}
        # One more for itself, and for each of its parts if it was longer than a piece.
        found = self.index.search_vector(vector, limit=limit + 1, filters=filters)
        return [hit for hit in found if not _is_same(hit, name, chunk)][:limit]


def _is_same(hit: Hit, name: str, chunk: Chunk) -> bool:
    passage = hit.passage
    return passage.path == name and passage.line <= chunk.last and chunk.first <= passage.end_line


def _filters(language: str | None, path: str | None) -> dict[str, str]:
    if language is not None and language not in (*_CODE, TEXT):
        raise OptionError(f"unknown language {language!r}{suggest(language, (*_CODE, TEXT))}")
    filters = {"language": language, "path": path}
    return {name: value for name, value in filters.items() if value is not None}
