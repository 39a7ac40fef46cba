"""LangChain: an `Embeddings` for vector stores and retrievers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import DependencyError

try:
    from langchain_core.embeddings import Embeddings
except ImportError:
    raise DependencyError("LangChain is not installed: pip install 'jina-embeddings-vllm[langchain]'") from None

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings


class LangChainEmbeddings(Embeddings):
    """A `JinaEmbeddings` as LangChain wants it: documents as passages, queries as queries.

        store = InMemoryVectorStore(LangChainEmbeddings(model))

    Args:
        task: the model's own if left out.
        truncate_dim, batch_size, max_length: as in `JinaEmbeddings.encode_text`.
    """

    def __init__(
        self,
        model: JinaEmbeddings,
        *,
        task: str | None = None,
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
    ):
        self.model = model
        self._options: dict[str, Any] = {
            "task": task or model.task,
            "truncate_dim": truncate_dim,
            "batch_size": batch_size,
            "max_length": max_length,
        }

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        vectors: list[list[float]] = self.model.encode_text(texts, prompt_name="passage", **self._options).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        vector: list[float] = self.model.encode_text(text, prompt_name="query", **self._options).tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        vectors = await self.model.aencode_text(texts, prompt_name="passage", **self._options)
        return list(vectors.tolist())

    async def aembed_query(self, text: str) -> list[float]:
        vector = await self.model.aencode_text(text, prompt_name="query", **self._options)
        return list(vector.tolist())
