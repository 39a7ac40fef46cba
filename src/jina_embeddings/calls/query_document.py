"""`encode_query` and `encode_document`: texts with the prompt of each, under the names of sentence-transformers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Unpack

from .options import EncodeOptions, Input
from .request import Request
from .run import Result


class QueryDocument(ABC):
    """The calls that name the prompt, made of `embed` and `aembed`."""

    @abstractmethod
    def embed(self, request: Request) -> Result:
        """The embeddings of a request."""

    @abstractmethod
    async def aembed(self, request: Request) -> Result:
        """`embed` for asyncio; the event loop is not blocked."""

    def encode_query(self, queries: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """Vectors of questions: `encode` with `prompt_name="query"`."""
        return self.embed(_request(queries, "query", options)).embeddings

    def encode_document(self, documents: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """Vectors of what is searched in, texts and images: `encode` with `prompt_name="passage"`."""
        return self.embed(_request(documents, "passage", options)).embeddings

    async def aencode_query(self, queries: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """`encode_query` for asyncio; the event loop is not blocked."""
        return (await self.aembed(_request(queries, "query", options))).embeddings

    async def aencode_document(self, documents: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """`encode_document` for asyncio; the event loop is not blocked."""
        return (await self.aembed(_request(documents, "passage", options))).embeddings


def _request(inputs: Input | Sequence[Input], prompt_name: str, options: EncodeOptions) -> Request:
    return Request.mixed(inputs, {"prompt_name": prompt_name, **options})
