"""What an index holds and gives back: passages, the documents that they are cut from, and hits."""

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
    """A piece of a document, embedded by itself.

    path: of its document, as the index knows it.
    start, end: where it stands in the document's text, in characters; 0 and 0 for a picture or a page image.
    line, end_line: the same in lines, from 1, both included; 0 where there are none.
    kind: `text` and `code` have `text`; `image` and `page` have `image`.
    title: the headings above it, or the symbol that it defines; embedded in front of the text.
    image: what `JinaEmbeddings.encode_image` takes: a path, `paper.pdf#page=3`, a URL or a data URL.
    metadata: to filter by: a string or several under each name, which has no `=`.
    content: digest of what is embedded: two passages of equal content have equal vectors. Left out, it is
        made from title and text; for an image, whoever makes the passage gives it.
    vector: where it is there already, made as the index makes them; it is not embedded then. multivector: (tokens,
        dim) beside it, if the index keeps them.
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
        """What `JinaEmbeddings.encode` takes."""
        if not self.image:
            return {"text": self.embedded_text}
        return {"image": self.image if is_url(self.image) else Path(self.image)}

    @property
    def source(self) -> str:
        """Where to look: `notes.md:12-20`, `rows.jsonl:3`, `paper.pdf#page=3`, `photo.png`."""
        if self.line:
            return f"{self.path}:{self.line}" + (f"-{self.end_line}" if self.end_line > self.line else "")
        page = self.metadata.get("page")
        return self.path if page is None else f"{self.path}#page={page}"


@dataclass(frozen=True, slots=True)
class Document:
    """Something with passages: a file, mostly.

    path: unique in the index.
    digest: of its content and of how it is cut; a document whose digest is in the index already is passed over.
    read: cuts it; called only when the digest is new. It may raise InputError or OSError, or give a `Failure` in the
        place of a passage; a `LeftOut` stands for what it passes by.
    metadata: given to all its passages beside their own; None for what the index has been given for it before.
    known: what another index has kept of it, instead of what its path and digest would say.
    """

    path: str
    digest: str
    read: Callable[[], Iterable[Passage | Failure | LeftOut]]
    metadata: Metadata | None = None
    known: State | None = None

    @property
    def state(self) -> str:
        """What an index keeps of it beside its passages; see `State`."""
        return str(State.of(self, self.metadata or {}))


@dataclass(frozen=True, slots=True)
class State:
    """What an index keeps of a document, as a string. content: equal for equal documents at other paths."""

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
        """Of an index that an earlier version made, or of a document that isn't whole: without a content."""
        content, _, rest = text.partition(" ")
        place, _, given = rest.partition(" ")
        try:
            metadata = {name: value if isinstance(value, str) else tuple(value) for name, value in _pairs(given)}
        except ValueError:
            metadata = {}
        return cls("" if content == INCOMPLETE else content, place, metadata)


INCOMPLETE = "incomplete"
"""In the place of a document's content, where passages of it are missing."""


def _pairs(text: str) -> Iterable[tuple[str, Any]]:
    return json.loads(text).items() if text else ()


def is_url(image: str) -> bool:
    """Whether what names an image is a URL rather than a path."""
    return re.match(r"(https?|file|data):", image, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    score: what it is ranked by: the cosine (mode `dense`), BM25 (`words`), both joined (`hybrid`, from 0 to 1), or
        MaxSim of the multi-vectors where the search asked for it.
    cosine: of the dense vectors, in all cases.
    id: of the passage in the index: the same as long as it stands at the same place of the same document.
    """

    passage: Passage
    score: float
    cosine: float
    id: str = ""

    def _repr_html_(self) -> str:
        from .display import as_html

        return as_html(self)

    def record(self) -> dict[str, Any]:
        """In plain types, for JSON and for other frameworks."""
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
    """A digest of several parts, 32 hexadecimal digits; where one ends and the next begins counts."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
