"""LlamaIndex: a `MultiModalEmbedding`, which embeds texts and images."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..errors import DependencyError, OptionError
from .models import as_documents, description, model_of

try:
    from llama_index.core.base.embeddings.base import Embedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.embeddings import MultiModalEmbedding
    from llama_index.core.schema import ImageType
except ImportError:
    raise DependencyError("LlamaIndex is not installed: pip install 'jina-embeddings-vllm[llama-index]'") from None

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

_COLLECTION = "embeddings"
BATCH = 64
"""Default of `embed_batch_size`: how many texts LlamaIndex embeds in one call."""


class LlamaIndexEmbedding(MultiModalEmbedding):
    """LlamaIndex's `MultiModalEmbedding` on a `JinaEmbeddings`, with the prompts for passages and queries.

        index = VectorStoreIndex(nodes, embed_model=LlamaIndexEmbedding("pocket"))

    Everything that vectors depend on is a field, so that LlamaIndex's caches distinguish settings, and `to_dict` and
    `from_dict` round-trip. Copies, also deep ones, share the model.

    Args:
        model: a `JinaEmbeddings`, or a name as for `JinaEmbeddings`.
        task: by default the model's task.
        truncate_dim, batch_size, max_length: as in `JinaEmbeddings.encode_text`.
        embed_batch_size: how many texts LlamaIndex embeds in one call.
        engine, revision, options: arguments of `JinaEmbeddings` for a model that is given by name.
        embeddings_cache: a key-value store of LlamaIndex. Its keys contain the settings and the prompt.
        model_name: another name of `model`, which `to_dict` writes.
        num_workers, callback_manager: as in LlamaIndex's own embeddings.
    """

    engine: str
    revision: str | None
    task: str
    truncate_dim: int | None
    batch_size: int | None
    max_length: int | None
    options: dict[str, Any]

    _model: Any = PrivateAttr()
    _cache: Any = PrivateAttr(default=None)

    def __init__(
        self,
        model: JinaEmbeddings | str | None = None,
        *,
        task: str | None = None,
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        embed_batch_size: int = BATCH,
        engine: str = "auto",
        revision: str | None = None,
        options: dict[str, Any] | None = None,
        embeddings_cache: Any = None,
        model_name: str | None = None,
        num_workers: int | None = None,
        callback_manager: CallbackManager | None = None,
    ):
        named = model if model is not None else model_name
        if named is None:
            raise OptionError("name a model, or give one")
        loaded = model_of(named, engine, revision, options)
        super().__init__(
            **description(loaded),
            embed_batch_size=embed_batch_size,
            num_workers=num_workers,
            callback_manager=callback_manager or CallbackManager([]),
            task=task or loaded.task,
            truncate_dim=truncate_dim,
            batch_size=batch_size,
            max_length=max_length,
        )
        self._model = loaded
        self._cache = embeddings_cache

    def __setattr__(self, name: str, value: Any) -> None:
        # LlamaIndex's own cache has the text alone as a key, so it would mix up queries, passages and settings.
        super().__setattr__("_cache" if name == "embeddings_cache" else name, value)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> LlamaIndexEmbedding:
        copied: LlamaIndexEmbedding = self.model_copy()
        return copied

    def __getstate__(self) -> dict[str, Any]:
        # Without the model, which is loaded again by its name.
        return {"__dict__": {name: value for name, value in self.__dict__.items() if name != "callback_manager"}}

    @classmethod
    def class_name(cls) -> str:
        return "JinaEmbeddings"

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._texts([query], "query")[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._texts(as_documents([text]), "passage")[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._texts(as_documents(texts), "passage")

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._atexts([query], "query"))[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._atexts(as_documents([text]), "passage"))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._atexts(as_documents(texts), "passage")

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return list(self._model.encode_image(_image(img_file_path), **self._settings()).tolist())

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return list((await self._model.aencode_image(_image(img_file_path), **self._settings())).tolist())

    def _settings(self) -> dict[str, Any]:
        return {"task": self.task, "truncate_dim": self.truncate_dim, "batch_size": self.batch_size}

    def _texts(self, texts: list[str], prompt_name: str) -> list[Embedding]:
        keys = self._keys(texts, prompt_name)
        found = [self._cache.get(key, collection=_COLLECTION) for key in keys]
        if missing := _missing(texts, found or [None] * len(texts)):
            vectors = self._model.encode_text(missing, **self._text_options(prompt_name)).tolist()
            found = _filled(found or [None] * len(texts), vectors)
            for key, entry in zip(keys, found, strict=False):
                self._cache.put(key, entry, collection=_COLLECTION)
        return [list(entry["vector"]) for entry in found]

    async def _atexts(self, texts: list[str], prompt_name: str) -> list[Embedding]:
        keys = self._keys(texts, prompt_name)
        found = [await self._cache.aget(key, collection=_COLLECTION) for key in keys]
        if missing := _missing(texts, found or [None] * len(texts)):
            vectors = (await self._model.aencode_text(missing, **self._text_options(prompt_name))).tolist()
            found = _filled(found or [None] * len(texts), vectors)
            for key, entry in zip(keys, found, strict=False):
                await self._cache.aput(key, entry, collection=_COLLECTION)
        return [list(entry["vector"]) for entry in found]

    def _text_options(self, prompt_name: str) -> dict[str, Any]:
        return {"prompt_name": prompt_name, "max_length": self.max_length, **self._settings()}

    def _keys(self, texts: list[str], prompt_name: str) -> list[str]:
        """The texts' keys in the cache, which contain all settings that vectors depend on; empty without a cache."""
        if self._cache is None:
            return []
        settings = (self.model_name, self.revision, self.engine, sorted(self.options.items()))
        own = (*settings, self.task, prompt_name, self.truncate_dim, self.max_length)
        return [repr((*own, text)) for text in texts]


def _missing(texts: list[str], found: list[Any]) -> list[str]:
    return [text for text, entry in zip(texts, found, strict=True) if entry is None]


def _filled(found: list[Any], vectors: list[Embedding]) -> list[Any]:
    """The cache entries, with the missing ones (None) filled from the vectors in order."""
    fresh = iter(vectors)
    return [{"vector": next(fresh)} if entry is None else entry for entry in found]


def _image(image: ImageType) -> Any:
    return image.getvalue() if isinstance(image, BytesIO) else image
