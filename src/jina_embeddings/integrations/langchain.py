"""LangChain: an `Embeddings` for vector stores and retrievers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import DependencyError, InputError
from .models import as_documents, model_of

try:
    from langchain_core.embeddings import Embeddings
except ImportError:
    raise DependencyError("LangChain is not installed: pip install 'jina-embeddings-vllm[langchain]'") from None

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings


class LangChainEmbeddings(Embeddings):
    """LangChain's `Embeddings` on a `JinaEmbeddings`, with the prompts for passages and queries.

        store = InMemoryVectorStore(LangChainEmbeddings("pocket"))

    Copies, also deep ones, share the model. LangChain needs a vector for each document, and document loaders produce
    empty ones; these get the vector of a single space.

    Args:
        model: a `JinaEmbeddings`, or the name of one, as for `JinaEmbeddings`.
        task: by default the model's task.
        truncate_dim, batch_size, max_length: as in `JinaEmbeddings.encode_text`.
        engine, revision, options: arguments of `JinaEmbeddings` for a model that is given by name.
    """

    def __init__(
        self,
        model: JinaEmbeddings | str,
        *,
        task: str | None = None,
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        engine: str = "auto",
        revision: str | None = None,
        options: dict[str, Any] | None = None,
    ):
        self.model = model_of(model, engine, revision, options)
        self._options: dict[str, Any] = {
            "task": task or self.model.task,
            "truncate_dim": truncate_dim,
            "batch_size": batch_size,
            "max_length": max_length,
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> LangChainEmbeddings:
        return LangChainEmbeddings(self.model, **self._options)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        documents = _documents(texts)
        if not documents:
            return []
        vectors: list[list[float]] = self.model.encode_text(documents, prompt_name="passage", **self._options).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        vector: list[float] = self.model.encode_text(_query(text), prompt_name="query", **self._options).tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        documents = _documents(texts)
        if not documents:
            return []
        vectors = await self.model.aencode_text(documents, prompt_name="passage", **self._options)
        return list(vectors.tolist())

    async def aembed_query(self, text: str) -> list[float]:
        vector = await self.model.aencode_text(_query(text), prompt_name="query", **self._options)
        return list(vector.tolist())


def _documents(texts: object) -> list[str]:
    if not isinstance(texts, Iterable) or isinstance(texts, (str, bytes)):
        raise InputError("embed_documents takes a list of texts: put a single one into a list, or use embed_query")
    return as_documents(texts)


def _query(text: object) -> str:
    if not isinstance(text, str):
        raise InputError(f"embed_query takes a str, not {type(text).__name__}: use embed_documents for several")
    return text
