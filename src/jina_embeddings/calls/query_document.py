"""`encode_query` and `encode_document`: the names of sentence-transformers for `encode` with one of two prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Unpack

from .options import EncodeOptions, Input
from .request import Request
from .run import Result


class QueryDocument(ABC):
    """The calls that have a prompt in their names; all of them use `embed` or `aembed`."""

    @abstractmethod
    def embed(self, request: Request) -> Result:
        """Returns the embeddings of a request."""

    @abstractmethod
    async def aembed(self, request: Request) -> Result:
        """Does the same as `embed` without blocking the event loop."""

    def encode_query(self, queries: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """Embeds queries: `encode` with `prompt_name="query"`."""
        return self.embed(_request(queries, "query", options)).embeddings

    def encode_document(self, documents: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """Embeds documents, texts and images: `encode` with `prompt_name="passage"`."""
        return self.embed(_request(documents, "passage", options)).embeddings

    async def aencode_query(self, queries: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """Does the same as `encode_query` without blocking the event loop."""
        return (await self.aembed(_request(queries, "query", options))).embeddings

    async def aencode_document(self, documents: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any:
        """Does the same as `encode_document` without blocking the event loop."""
        return (await self.aembed(_request(documents, "passage", options))).embeddings


def _request(inputs: Input | Sequence[Input], prompt_name: str, options: EncodeOptions) -> Request:
    return Request.mixed(inputs, {"prompt_name": prompt_name, **options})
