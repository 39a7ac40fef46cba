"""LlamaIndex: a `MultiModalEmbedding`, which is a `BaseEmbedding` that takes images too."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..errors import DependencyError

try:
    from llama_index.core.base.embeddings.base import Embedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.embeddings import MultiModalEmbedding
    from llama_index.core.schema import ImageType
except ImportError:
    raise DependencyError("LlamaIndex is not installed: pip install 'jina-embeddings-vllm[llama-index]'") from None

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

BATCH = 64
"""Texts that LlamaIndex hands over together, unless `embed_batch_size` says otherwise."""


class LlamaIndexEmbedding(MultiModalEmbedding):
    """A `JinaEmbeddings` as LlamaIndex wants it: texts of nodes as passages, queries as queries.

        index = VectorStoreIndex(nodes, embed_model=LlamaIndexEmbedding(model))

    Args:
        task: the model's own if left out.
        truncate_dim, batch_size, max_length: as in `JinaEmbeddings.encode_text`.
        embed_batch_size: texts that LlamaIndex hands over together.
    """

    _model: Any = PrivateAttr()
    _options: dict[str, Any] = PrivateAttr()
    _max_length: dict[str, Any] = PrivateAttr()

    def __init__(
        self,
        model: JinaEmbeddings,
        *,
        task: str | None = None,
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        embed_batch_size: int = BATCH,
    ):
        super().__init__(model_name=model.info.name, embed_batch_size=embed_batch_size)
        self._model = model
        self._options = {"task": task or model.task, "truncate_dim": truncate_dim, "batch_size": batch_size}
        self._max_length = {"max_length": max_length}

    @classmethod
    def class_name(cls) -> str:
        return "JinaEmbeddings"

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._texts([query], "query")[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._texts([text], "passage")[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._texts(texts, "passage")

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._atexts([query], "query"))[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._atexts([text], "passage"))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._atexts(texts, "passage")

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return list(self._model.encode_image(_image(img_file_path), **self._options).tolist())

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return list((await self._model.aencode_image(_image(img_file_path), **self._options)).tolist())

    def _texts(self, texts: list[str], prompt_name: str) -> list[Embedding]:
        if not texts:
            return []
        vectors = self._model.encode_text(texts, prompt_name=prompt_name, **self._options, **self._max_length)
        return list(vectors.tolist())

    async def _atexts(self, texts: list[str], prompt_name: str) -> list[Embedding]:
        if not texts:
            return []
        vectors = await self._model.aencode_text(texts, prompt_name=prompt_name, **self._options, **self._max_length)
        return list(vectors.tolist())


def _image(image: ImageType) -> Any:
    return image.getvalue() if isinstance(image, BytesIO) else image
