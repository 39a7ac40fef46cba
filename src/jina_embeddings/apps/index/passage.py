"""What an index holds and gives back: passages, the documents that they are cut from, and hits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from ...pipeline.rows import Failure

Kind = Literal["text", "image", "page", "code"]
KINDS: tuple[Kind, ...] = ("text", "image", "page", "code")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, embedded by itself.

    path: of its document, as the index knows it.
    start, end: where it stands in the document's text, in characters; 0 and 0 for a picture or a page image.
    line, end_line: the same in lines, from 1, both included; 0 where there are none.
    kind: `text` and `code` have `text`; `image` and `page` have `image`.
    title: the headings above it, or the symbol that it defines; embedded in front of the text.
    image: what `JinaEmbeddings.encode_image` takes, a path or `paper.pdf#page=3`.
    metadata: to filter by; names and values are strings, and a name has no `=`.
    content: digest of what is embedded: two passages of equal content have equal vectors. Left out, it is
        made from title and text; for an image, whoever makes the passage gives it.
    vector: where it is there already, made as the index makes them; it is not embedded then.
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
    metadata: Mapping[str, str] = field(default_factory=dict)
    content: str = ""
    vector: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.content:
            object.__setattr__(self, "content", digest_of(self.kind, self.embedded_text, self.image))

    @property
    def embedded_text(self) -> str:
        return f"{self.title}\n\n{self.text}" if self.title and self.text else self.text or self.title

    @property
    def input(self) -> dict[str, Any]:
        """What `JinaEmbeddings.encode` takes."""
        return {"image": Path(self.image)} if self.image else {"text": self.embedded_text}

    @property
    def source(self) -> str:
        """Where to look: `notes.md:12-20`, `paper.pdf#page=3`, `photo.png`."""
        if self.image:
            return self.image
        page = self.metadata.get("page")
        if page is not None:
            return f"{self.path}#page={page}"
        return f"{self.path}:{self.line}-{self.end_line}" if self.line else self.path


@dataclass(frozen=True, slots=True)
class Document:
    """Something with passages: a file, mostly.

    path: unique in the index.
    digest: of its content and of how it is cut; a document whose digest is in the index already is passed over.
    read: cuts it; called only when the digest is new. It may raise InputError or OSError, or give a `Failure` in the
        place of a passage.
    """

    path: str
    digest: str
    read: Callable[[], Iterable[Passage | Failure]]

    @property
    def state(self) -> str:
        """What an index keeps of it beside its passages."""
        return digest_of(self.path, self.digest)


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search.

    score: what it is ranked by: the cosine (mode `dense`), BM25 (`words`), the sum of reciprocal ranks (`hybrid`), or
        MaxSim of the multi-vectors where the search asked for it.
    cosine: of the dense vectors, in all cases.
    id: of the passage in the index: the same as long as it stands at the same place of the same document.
    """

    passage: Passage
    score: float
    cosine: float
    id: str = ""

    def record(self) -> dict[str, Any]:
        """In plain types, for JSON and for other frameworks."""
        passage = self.passage
        return {
            "id": self.id,
            "text": passage.text,
            "source": passage.source,
            "title": passage.title,
            "line": passage.line,
            "end_line": passage.end_line,
            "score": self.score,
            "metadata": {**passage.metadata, "path": passage.path, "kind": passage.kind},
        }


def digest_of(*parts: str | bytes) -> str:
    """A digest of several parts, 32 hexadecimal digits; where one ends and the next begins counts."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
