"""What clients send, in each dialect; unknown fields are ignored, as by the original services.

The descriptions are those of `/openapi.json`, `/docs` and docs/serving.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from ..errors import InputError
from ..types import EmbeddingType

Several = Annotated[list[EmbeddingType], Meta(min_length=1)]
Forms = EmbeddingType | Several

_TEXT = {"type": "string", "minLength": 1}
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}


def _alone(field: str) -> dict[str, Any]:
    return {"type": "object", "properties": {field: _TEXT}, "required": [field], "additionalProperties": False}


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema, "minItems": 1}


# For `/openapi.json`; what isn't so is refused by `values.items_of`, which says why.
_ITEM = {"anyOf": [_TEXT, *(_alone(field) for field in ("text", "image", "bytes", "url"))]}
_ITEMS = {"anyOf": [_ITEM, _list_of(_ITEM), _alone("pdf"), _IDS, _list_of(_IDS)]}

_INPUTS = 'a text, `{"text"}`, `{"image"}` with base64, a data URL or a URL'


class EmbeddingsRequest(Struct, kw_only=True):
    """Jina's dialect and OpenAI's."""

    input: Annotated[
        Any,
        Meta(
            description=f'{_INPUTS}, or a list of these; one `{{"pdf"}}` alone, which is answered page by page; '
            "`bytes` and `url` are older words for `image`; token ids where the server allows them",
            extra_json_schema=_ITEMS,
        ),
    ]
    model: Annotated[str | None, Meta(description="is repeated in the answer")] = None
    task: Annotated[
        str | None,
        Meta(
            description="`retrieval.query`, `retrieval.passage`, `text-matching`, `code.query`, `code.passage`; left "
            "out, `text-matching`, as in the hosted API"
        ),
    ] = None
    dimensions: Annotated[int | None, Meta(description="a matryoshka size; left out, all")] = None
    embedding_type: Annotated[
        Forms | None,
        Meta(description="`float`, `base64`, `binary`, `ubinary`, `int8`, or a list of them; left out, `float`"),
    ] = None
    encoding_type: Annotated[Forms | None, Meta(description="the same, from older clients")] = None
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Meta(description="OpenAI's word for it; its clients ask for `base64`")
    ] = None
    late_chunking: Annotated[bool, Meta(description="the inputs are chunks of one document")] = False
    truncate: Annotated[bool, Meta(description="cut texts that are too long; otherwise they are errors")] = False
    normalized: Annotated[bool, Meta(description="nothing else is given")] = True
    return_multivector: Annotated[bool, Meta(description="a vector for each token")] = False

    @property
    def is_jina(self) -> bool:
        """Whether the request has what only Jina's dialect has; errors are answered in it."""
        given = self.task or self.embedding_type or self.encoding_type or self.late_chunking or self.return_multivector
        items = self.input if isinstance(self.input, list) else [self.input]
        return bool(given) or any(isinstance(item, dict) for item in items)

    @property
    def forms(self) -> list[EmbeddingType]:
        """The number formats of the vectors, in the order asked for, each once."""
        asked = self.embedding_type or self.encoding_type or self.encoding_format or "float"
        return [asked] if isinstance(asked, str) else list(dict.fromkeys(asked))


class RerankRequest(Struct, kw_only=True):
    """Jina's dialect: documents by late interaction with a query."""

    query: Annotated[Any, Meta(description=_INPUTS, extra_json_schema=_ITEM)]
    documents: Annotated[list[Any], Meta(description="a list of the same", extra_json_schema=_list_of(_ITEM))]
    model: Annotated[str | None, Meta(description="is repeated in the answer")] = None
    top_n: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="the best so many; left out, all")] = None
    return_documents: Annotated[bool, Meta(description="each result has its document")] = True
    truncate: Annotated[bool, Meta(description="cut texts that are too long; otherwise they are errors")] = True


class SearchRequest(Struct, kw_only=True):
    """The best passages of the index that the server was given."""

    query: Annotated[Any, Meta(description=_INPUTS, extra_json_schema=_ITEM)]
    limit: Annotated[int, Meta(description="passages, at most", ge=1, le=1000)] = 10
    filters: Annotated[
        dict[str, str | list[str]] | None,
        Meta(description="what `kind`, `path`, `title` (`*` stands for anything) or metadata have to be"),
    ] = None
    mode: Annotated[
        Literal["dense", "words", "hybrid"] | None,
        Meta(description="`dense` (vectors), `words` (BM25), `hybrid` (both); left out, as `search` does"),
    ] = None
    rerank: Annotated[bool, Meta(description="rank the best by multi-vectors")] = False
    min_score: Annotated[float | None, Meta(description="leave out passages with a lower score")] = None


class CohereText(Struct, tag_field="type", tag="text"):
    """A text of an input."""

    text: str


class CohereImageUrl(Struct):
    """An image's data URL, or its URL."""

    url: str


class CohereImage(Struct, tag_field="type", tag="image_url"):
    """An image of an input."""

    image_url: CohereImageUrl


class CohereInput(Struct):
    """A text or an image: this model has no vector for several in one."""

    content: list[CohereText | CohereImage]


class CohereRequest(Struct, kw_only=True):
    """Cohere's dialect."""

    input_type: Annotated[
        Literal["search_query", "search_document", "classification", "clustering", "image"],
        Meta(description="`search_query`, `search_document` and `image` are retrieval, the others text-matching"),
    ]
    model: Annotated[str | None, Meta(description="is not used")] = None
    texts: Annotated[list[str] | None, Meta(description="one of these three")] = None
    images: Annotated[list[str] | None, Meta(description="data URLs or URLs")] = None
    inputs: Annotated[
        list[CohereInput] | None, Meta(description='`{"content": [...]}` with one text or one image each')
    ] = None
    embedding_types: Annotated[Several, Meta(description="`float`, `int8`, `binary`, `ubinary`, `base64`")] = field(
        default_factory=lambda: ["float"]
    )
    output_dimension: Annotated[int | None, Meta(description="a matryoshka size; left out, all")] = None
    truncate: Annotated[
        Literal["NONE", "END", "START"], Meta(description="where texts that are too long are cut; `START` is an error")
    ] = "END"

    @property
    def given(self) -> tuple[str, list[Any]]:
        """The name of the field with the inputs, and these as `/v1/rerank` takes `documents`.

        Raises:
            InputError: none or several of the fields were given, or an input of several parts.
        """
        fields = {"texts": self.texts, "images": self.images, "inputs": self.inputs}
        given = [field for field, value in fields.items() if value is not None]
        if len(given) != 1:
            raise InputError("give texts, images or inputs, one of them")
        (field,) = given
        if self.texts is not None:
            return field, [{"text": text} for text in self.texts]
        if self.images is not None:
            return field, [{"image": image} for image in self.images]
        return field, [_part(one.content) for one in self.inputs or []]


class TokenizeRequest(Struct, kw_only=True):
    """Tokens of each text, without a prompt."""

    input: Annotated[str | list[str], Meta(description="a text or a list of texts")]
    model: Annotated[str | None, Meta(description="is not used")] = None


def _part(content: list[CohereText | CohereImage]) -> dict[str, str]:
    if len(content) != 1:
        raise InputError("an input has one text or one image: send several as inputs of their own")
    (part,) = content
    return {"text": part.text} if isinstance(part, CohereText) else {"image": part.image_url.url}
