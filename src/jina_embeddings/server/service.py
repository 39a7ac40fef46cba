"""The work of each route: from a request in a dialect to the model and back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import numpy as np

from ..calls.request import EncodeOptions, Request, TextOptions
from ..calls.run import Result
from ..errors import InputError
from .answers import embeddings_answer, rows_in, usage_of
from .limits import Budget
from .schemas import CohereRequest, EmbeddingsRequest, RerankRequest, TokenizeRequest, image_bytes, items_of
from .statuses import RequestError

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

S = TypeVar("S")

# The hosted API's default, for requests that name no task.
DEFAULT_TASK = "text-matching"


class Service:
    """One model behind all dialects."""

    def __init__(self, model: JinaEmbeddings, budget: Budget):
        self.model = model
        self.budget = budget
        self.default_task = DEFAULT_TASK if DEFAULT_TASK in model.info.tasks else model.info.tasks[0]

    async def embeddings(self, body: EmbeddingsRequest) -> dict[str, Any]:
        """`POST /v1/embeddings`."""
        if not body.normalized:
            raise RequestError(422, "input_error", "vectors are normalised: leave normalized out")
        items = items_of(body.input)
        result = await self._embed(
            items,
            task=body.task or self.default_task,
            truncate=body.truncate,
            truncate_dim=body.dimensions,
            return_multivector=body.return_multivector,
            late_chunking=body.late_chunking,
        )
        name = body.model or self.model.info.name
        return embeddings_answer(result.embeddings, body.forms, name, result.usage, multivector=body.return_multivector)

    async def rerank(self, body: RerankRequest) -> dict[str, Any]:
        """`POST /v1/rerank`: the mean over the query's tokens of their best cosine in each document."""
        query, documents = items_of([body.query]), items_of(body.documents)
        asked = await self._embed(query, task="retrieval.query", return_multivector=True)
        found = await self._embed(documents, task="retrieval.passage", return_multivector=True)
        (tokens,) = asked.embeddings
        scores = self.model.maxsim(tokens, found.embeddings) / len(tokens)
        order = np.argsort(-scores, kind="stable")[: body.top_n]
        results = [
            {"index": int(index), "relevance_score": float(scores[index])}
            | ({"document": _document(body.documents[index])} if body.return_documents else {})
            for index in order
        ]
        usage = usage_of(asked.usage + found.usage)
        return {"object": "list", "model": body.model or self.model.info.name, "results": results, "usage": usage}

    async def cohere(self, body: CohereRequest) -> dict[str, Any]:
        """`POST /v2/embed`."""
        if (body.texts is None) == (body.images is None):
            raise InputError("give texts or images")
        if body.truncate == "START":
            raise InputError("truncate START is not possible: texts are cut at their end")
        items: list[dict[str, Any]] = (
            [{"text": text} for text in body.texts]
            if body.texts is not None
            else [{"image": image_bytes(image)} for image in body.images or []]
        )
        tasks = {"search_query": "retrieval.query", "search_document": "retrieval.passage", "image": "retrieval"}
        task = tasks.get(body.input_type, self.default_task)
        result = await self._embed(
            items, task=task, truncate=body.truncate == "END", truncate_dim=body.output_dimension
        )
        embeddings = {form: list(rows_in(form, result.embeddings)) for form in body.embedding_types}
        billed = {"input_tokens": result.usage.num_tokens}
        return {
            "embeddings": embeddings,
            "texts": body.texts or [],
            "meta": {"api_version": {"version": "2"}, "billed_units": billed},
            "response_type": "embeddings_by_type",
        }

    async def tokenize(self, body: TokenizeRequest) -> dict[str, Any]:
        """`POST /tokenize`."""
        texts = [body.input] if isinstance(body.input, str) else body.input
        with self.budget.taken([{"text": text} for text in texts]):
            # A megabyte of text would hold the event loop for a second.
            counts = await asyncio.to_thread(self.model.count_tokens, texts)
        return {"num_tokens": counts, "usage": {"total_tokens": sum(counts)}}

    def models(self) -> dict[str, Any]:
        """`GET /v1/models`."""
        info = self.model.info
        entry = {
            "id": info.name,
            "object": "model",
            "created": 0,
            "owned_by": "jina-embeddings",
            "tasks": info.tasks,
            "dimensions": info.matryoshka_dims,
            "max_length": info.max_length,
        }
        return {"object": "list", "data": [entry]}

    async def _embed(self, items: Sequence[dict[str, Any]], *, late_chunking: bool = False, **options: Any) -> Result:
        with self.budget.taken(items):
            if late_chunking:
                if any("text" not in item for item in items):
                    raise InputError("late_chunking takes texts alone")
                del options["truncate"]
                chunking = cast(TextOptions, {**options, "late_chunking": True})
                return await self.model.aembed(Request.texts([item["text"] for item in items], chunking))
            return await self.model.aembed(Request.mixed(items, cast(EncodeOptions, options)))


def _document(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"text": value}


def decoded(body: bytes, kind: type[S]) -> S:
    """The body as that struct; RequestError 422 says what is wrong in it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(422, "validation_error", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, "invalid_json", f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise RequestError(400, "invalid_json", "the body is nested too deeply") from error
