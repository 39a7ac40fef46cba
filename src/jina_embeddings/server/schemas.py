"""What clients send, in each dialect, and what their inputs mean; an unknown field is ignored, as the originals do."""

from __future__ import annotations

import binascii
import re
from typing import Annotated, Any, Literal

import msgspec
import pybase64

from ..errors import ImageError, InputError
from ..types import EmbeddingType

_DATA_URL = re.compile(r"data:[\w.+/-]*(;[\w=.+-]+)*;base64,", re.ASCII)
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")


class EmbeddingsRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/embeddings`, Jina's fields and OpenAI's; `encoding_type` and `normalized` are older clients' words."""

    input: Any
    model: str | None = None
    task: str | None = None
    dimensions: int | None = None
    embedding_type: EmbeddingType | list[EmbeddingType] | None = None
    encoding_type: EmbeddingType | list[EmbeddingType] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    late_chunking: bool = False
    truncate: bool = False
    normalized: bool = True
    return_multivector: bool = False

    @property
    def is_jina(self) -> bool:
        """Whether the request has what only Jina's dialect has; errors are answered in it."""
        given = self.task or self.embedding_type or self.encoding_type or self.late_chunking or self.return_multivector
        items = self.input if isinstance(self.input, list) else [self.input]
        return bool(given) or any(isinstance(item, dict) for item in items)

    @property
    def forms(self) -> list[EmbeddingType]:
        """Of the vectors, in the order asked for."""
        asked = self.embedding_type or self.encoding_type or self.encoding_format or "float"
        return [asked] if isinstance(asked, str) else asked


class RerankRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/rerank`: documents by late interaction with a query; texts, `{"text"}` and `{"image"}`."""

    query: Any
    documents: list[Any]
    model: str | None = None
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_documents: bool = True


class CohereRequest(msgspec.Struct, kw_only=True):
    """`POST /v2/embed`."""

    input_type: Literal["search_query", "search_document", "classification", "clustering", "image"]
    model: str | None = None
    texts: list[str] | None = None
    images: list[str] | None = None
    embedding_types: list[EmbeddingType] = msgspec.field(default_factory=lambda: ["float"])
    output_dimension: int | None = None
    truncate: Literal["NONE", "END", "START"] = "END"


class TokenizeRequest(msgspec.Struct, kw_only=True):
    """`POST /tokenize`: tokens of each text, without a prompt."""

    input: str | list[str]
    model: str | None = None


def items_of(value: Any) -> list[dict[str, Any]]:
    """Each input as `JinaEmbeddings.encode` takes it: `{"text": str}` or `{"image": bytes}`.

    Raises:
        InputError: no input, or what is none.
        ImageError: an image that is neither base64 nor a data URL.
    """
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise InputError("input is empty: give at least one text or image")
    if all(isinstance(item, int) and not isinstance(item, bool) for item in listed) or any(
        isinstance(item, list) for item in listed
    ):
        raise InputError(
            "input holds token ids, which are those of another model's tokenizer: send texts "
            "(LangChain: check_embedding_ctx_length=False)"
        )
    return [_item(item) for item in listed]


def _item(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"image": image_bytes(value)} if _DATA_URL.match(value) else {"text": value}
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "text" and isinstance(content, str):
            return {"text": content}
        if kind in ("image", "bytes", "url") and isinstance(content, str):
            return {"image": image_bytes(content)}
        if kind == "pdf":
            raise InputError("pdf is not read by this server: send each page as an image")
    raise InputError('an input is a text, {"text": ...}, or {"image": base64 or data URL}')


def image_bytes(text: str) -> bytes:
    """An encoded image from base64 or a data URL. A client's string is never a path and never fetched."""
    match = _DATA_URL.match(text[:200])
    if match is None and _ADDRESS.match(text[:32]):
        raise ImageError("image URLs are not fetched by this server: send the image as base64 or as a data URL")
    body = text[match.end() :] if match else text
    try:
        data = pybase64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("an image is neither base64 nor a data URL") from error
    if not data:
        raise ImageError("an image is empty")
    return data
