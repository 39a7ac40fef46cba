"""Haystack: a text embedder and a document embedder, which can be serialised in a pipeline's YAML."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import DependencyError, InputError
from .models import as_documents, model_of

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError:
    raise DependencyError("Haystack is not installed: pip install 'jina-embeddings-vllm[haystack]'") from None

if TYPE_CHECKING:
    from typing import Self

    from ..embedder import JinaEmbeddings


class _Embedder:
    """The base of both embedders; arguments as of `TextEmbedder`."""

    def __init__(
        self,
        model: str,
        *,
        engine: str = "auto",
        task: str = "retrieval",
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        revision: str | None = None,
        options: dict[str, Any] | None = None,
    ):
        self.settings: dict[str, Any] = {
            "model": model,
            "engine": engine,
            "task": task,
            "truncate_dim": truncate_dim,
            "batch_size": batch_size,
            "max_length": max_length,
            "revision": revision,
            "options": options,
        }
        self._model: JinaEmbeddings | None = None

    def warm_up(self) -> None:
        """Loads the model, once; a pipeline does so by itself."""
        if self._model is not None:
            return
        self._model = model_of(*(self.settings[key] for key in ("model", "engine", "revision", "options")))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with the same model, which components of equal settings share anyway."""
        other = type(self)(**self.settings)
        other._model = self._model
        return other

    def to_dict(self) -> dict[str, Any]:
        """The component as a dict, for a pipeline's YAML."""
        return dict(default_to_dict(self, **self.settings))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component from its dict in a pipeline's YAML."""
        embedder: Self = default_from_dict(cls, data)
        return embedder

    def _encode(self, texts: list[str], prompt_name: str) -> list[list[float]]:
        if not texts:
            return []
        vectors: list[list[float]] = self._ready().encode_text(texts, **self._arguments(prompt_name)).tolist()
        return vectors

    async def _aencode(self, texts: list[str], prompt_name: str) -> list[list[float]]:
        if not texts:
            return []
        vectors = await self._ready().aencode_text(texts, **self._arguments(prompt_name))
        return list(vectors.tolist())

    def _ready(self) -> JinaEmbeddings:
        self.warm_up()
        assert self._model is not None
        return self._model

    def _arguments(self, prompt_name: str) -> Any:
        names = ("task", "truncate_dim", "batch_size", "max_length")
        return {"prompt_name": prompt_name, **{name: self.settings[name] for name in names}}


@component
class TextEmbedder(_Embedder):
    """Embeds queries.

    Args:
        model, engine, revision: as in `JinaEmbeddings`; the model is loaded by `warm_up`.
        task, truncate_dim, batch_size, max_length: as in `JinaEmbeddings.encode_text`.
        options: any other options of `JinaEmbeddings`.
    """

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        return {"embedding": self._encode([_text(text)], "query")[0]}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        return {"embedding": (await self._aencode([_text(text)], "query"))[0]}


@component
class DocumentEmbedder(_Embedder):
    """Embeds documents as passages, and returns copies of them with vectors. Arguments as of `TextEmbedder`."""

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        return _with_vectors(documents, self._encode(_contents(documents), "passage"))

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        return _with_vectors(documents, await self._aencode(_contents(documents), "passage"))


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise InputError(f"a text embedder takes a str, not {type(text).__name__}: use DocumentEmbedder for documents")
    return text


def _contents(documents: list[Document]) -> list[str]:
    if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
        raise InputError("a document embedder takes a list of Documents: use TextEmbedder for a str")
    for document in documents:
        if document.content is None:
            raise InputError(f"document {document.id} has no text")
    return as_documents(str(document.content) for document in documents)


def _with_vectors(documents: list[Document], vectors: list[list[float]]) -> dict[str, Any]:
    pairs = zip(documents, vectors, strict=True)
    return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}
