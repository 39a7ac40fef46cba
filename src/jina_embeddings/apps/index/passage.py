"""The types that an index takes and returns: passages, the documents that they are cut from, and hits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ...pipeline.rows import Failure, LeftOut

Kind = Literal["text", "image", "page", "code"]
Metadata: TypeAlias = Mapping[str, "str | tuple[str, ...]"]
KINDS: tuple[Kind, ...] = ("text", "image", "page", "code")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that has a vector of its own.

    path: the path of its document in the index.
    start, end: its place in the document's text, in characters; both 0 for an image or a page.
    line, end_line: its first and last line, from 1; 0 if it has none.
    kind: `text` and `code` have `text`; `image` and `page` have `image`.
    title: the headings above it, or the symbol that it defines; embedded in front of the text.
    image: an input of `JinaEmbeddings.encode_image`: a path, `paper.pdf#page=3`, a URL or a data URL.
    metadata: values to filter by: a string or several for each name. Names have no `=`.
    content: a digest of what is embedded: passages with equal ones have equal vectors. If left out, it is computed from
        title and text; of an image it has to be given.
    vector: the vector, if it exists already; the passage is not embedded then. multivector: (tokens, dim), beside
        `vector` if the index stores multi-vectors.
    """

    path: str
    kind: Kind
    text: str = ""
    start: int = 0
    end: int = 0
    line: int = 0
    end_line: int = 0
    title: str = ""
    image: str = ""
    metadata: Metadata = field(default_factory=dict)
    content: str = ""
    vector: Any = field(default=None, compare=False, repr=False)
    multivector: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.content:
            object.__setattr__(self, "content", digest_of(self.kind, self.embedded_text, self.image))

    @property
    def embedded_text(self) -> str:
        return f"{self.title}\n\n{self.text}" if self.title and self.text else self.text or self.title

    @property
    def input(self) -> dict[str, Any]:
        """The input of `JinaEmbeddings.encode`."""
        if not self.image:
            return {"text": self.embedded_text}
        return {"image": self.image if is_url(self.image) else Path(self.image)}

    @property
    def source(self) -> str:
        """The path with lines or page: `notes.md:12-20`, `rows.jsonl:3`, `paper.pdf#page=3`, `photo.png`."""
        if self.line:
            return f"{self.path}:{self.line}" + (f"-{self.end_line}" if self.end_line > self.line else "")
        page = self.metadata.get("page")
        return self.path if page is None else f"{self.path}#page={page}"


@dataclass(frozen=True, slots=True)
class Document:
    """A source of passages, such as a file.

    path: its name, unique in the index.
    digest: of its content and of how it is cut. If the index has the same digest, the document is not read.
    read: cuts the document. It may raise InputError or OSError, and yield a `Failure` instead of a passage, or a
        `LeftOut` for a part that is not indexed.
    metadata: added to the metadata of all its passages. None keeps what the index was given for it before.
    known: its state in another index, which is taken instead of one of path and digest.
    """

    path: str
    digest: str
    read: Callable[[], Iterable[Passage | Failure | LeftOut]]
    metadata: Metadata | None = None
    known: State | None = None

    @property
    def state(self) -> str:
        """Its `State` as the index stores it."""
        return str(State.of(self, self.metadata or {}))


@dataclass(frozen=True, slots=True)
class State:
    """What an index stores of a document to notice changes. content: the same at every path."""

    content: str
    place: str
    metadata: Metadata

    @classmethod
    def of(cls, document: Document, metadata: Metadata) -> State:
        if document.known is not None:
            return replace(document.known, metadata=metadata)
        return cls(digest_of(document.digest), digest_of(document.path, document.digest), metadata)

    def __str__(self) -> str:
        given = [json.dumps(self.metadata, sort_keys=True)] if self.metadata else []
        return " ".join([self.content, self.place, *given])

    @classmethod
    def parse(cls, text: str) -> State:
        """Parses a stored state. Incomplete documents, and indices of earlier versions, have no content."""
        content, _, rest = text.partition(" ")
        place, _, given = rest.partition(" ")
        try:
            metadata = {name: value if isinstance(value, str) else tuple(value) for name, value in _pairs(given)}
        except ValueError:
            metadata = {}
        return cls("" if content == INCOMPLETE else content, place, metadata)


INCOMPLETE = "incomplete"
"""The content of a document of which passages are missing."""


def _pairs(text: str) -> Iterable[tuple[str, Any]]:
    return json.loads(text).items() if text else ()


def is_url(image: str) -> bool:
    """Returns whether the name of an image is a URL, not a path."""
    return re.match(r"(https?|file|data):", image, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class Hit:
    """A result of a search.

    score: the number that it is ranked by: the cosine (mode `dense`), BM25 (`words`), both joined (`hybrid`, from 0 to
        1), or MaxSim of the multi-vectors if the search asked for it.
    cosine: of the dense vectors, whatever the score is.
    id: the passage's id, which is the same as long as it is at the same place of the same document.
    row_id: where LanceDB has its row, until files of the index are merged.
    """

    passage: Passage
    score: float
    cosine: float
    id: str = ""
    row_id: int | None = field(default=None, compare=False, repr=False)

    def _repr_html_(self) -> str:
        from .display import as_html

        return as_html(self)

    def record(self) -> dict[str, Any]:
        """Returns the hit in plain types, for JSON and other frameworks."""
        passage = self.passage
        metadata = {name: value if isinstance(value, str) else list(value) for name, value in passage.metadata.items()}
        return {
            "id": self.id,
            "text": passage.text,
            "source": passage.source,
            "title": passage.title,
            "line": passage.line,
            "end_line": passage.end_line,
            "score": self.score,
            "cosine": self.cosine,
            "metadata": {**metadata, "path": passage.path, "kind": passage.kind},
        }


def digest_of(*parts: str | bytes) -> str:
    """Returns a digest of several parts, 32 hexadecimal digits; their boundaries count too."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
