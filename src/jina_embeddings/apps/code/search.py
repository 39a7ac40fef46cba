"""`CodeSearch`: an index of a repository that is searched with words, code or documentation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ...errors import InputError, OptionError, suggest
from ..index import Hit, Index, Summary
from ..index.search import Mode
from ..index.update import Item
from .chunks import Chunk, cut
from .languages import LANGUAGES, language_of
from .repository import TEXT, Repository, read_source

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings

KIND = "code"
_CODE = tuple(language.name for language in LANGUAGES)


class CodeSearch:
    """Finds chunks of code.

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
        """Opens or creates an index for the task `code`; arguments and errors as of `Index.open`."""
        return cls(Index.open(address, model, create=create, task="code", dimension=dimension, kind=KIND))

    def update(
        self,
        repository: Repository,
        *,
        changed: bool = False,
        advance: Callable[[], None] | None = None,
        reading: Callable[[Iterator[Item]], Iterator[Item]] = iter,
        **options: Any,
    ) -> Summary:
        """Updates the index to the files of a repository; only new chunks are embedded.

        Args:
            changed: read only files whose digest differs from the one in the index.
            advance: called after each chunk.
            reading: gets the documents and returns an iterator over them, to count them as they are read.
            options: `batch_size` and `max_length` of `JinaEmbeddings.stream`.
        """
        unchanged = repository.unchanged(self.index.store.states()) if changed else frozenset()
        return self.index.update(
            reading(repository.documents(without=unchanged)),
            gone=lambda path: path not in unchanged and repository.gone(path),
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
        """The best chunks for a question in words, or for a text of documentation.

        Args:
            language: a name of `languages.LANGUAGES`, or `text` for files that aren't code.
            path: relative to the repository; `*` matches anything.
            mode: as of `Index.search`; in word search, identifiers match as a whole and by their parts.

        Raises OptionError for an unknown language or mode.
        """
        return self.index.search(query, limit=limit, filters=_filters(language, path), mode=mode)

    def similar(
        self, file: Path, line: int, *, name: str = "", limit: int = 10, language: str | None = None
    ) -> list[Hit]:
        """The chunks most similar to the one at a line of a file, without that chunk; the file need not be indexed.

        Text such as documentation is embedded as a query, and finds only code unless a language is given.

        Args:
            line: counted from 1.
            name: the file's path in the index, to leave its chunk out.

        Raises:
            InputError: there is no chunk at that line.
            OptionError: the language is unknown.
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
        # One more, as the chunk itself may be found.
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
