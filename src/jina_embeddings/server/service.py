"""The work of each route: takes a request in a dialect, calls the model, and makes the answer."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..calls.options import EncodeOptions, TextOptions
from ..calls.request import Request
from ..calls.run import Result
from ..errors import InputError
from ..types import Usage
from .answers import by_form_json, embeddings_json, usage_of
from .schemas import CohereRequest, EmbeddingsRequest, RerankRequest, SearchRequest, TokenizeRequest
from .statuses import RequestError
from .values import Decode, Item, items_of, pageless_items_of

if TYPE_CHECKING:
    from ..apps.index import Index
    from ..embedder import JinaEmbeddings
    from .limits import Claim
    from .media import Media
    from .records import Record

# The hosted API's default, for requests that name no task.
DEFAULT_TASK = "text-matching"
# The names of arguments of `JinaEmbeddings.encode` in each dialect.
_FIELDS = {
    "inputs": "input",
    "task": "task",
    "truncate_dim": "dimensions",
    "late_chunking": "late_chunking",
    "return_multivector": "return_multivector",
}
_COHERE_FIELDS = {"task": "input_type", "truncate_dim": "output_dimension"}
_SEARCH_FIELDS = {"inputs": "query", "mode": "mode", "filters": "filters", "return_multivector": "rerank"}
_COHERE_TASKS = {"search_query": "retrieval.query", "search_document": "retrieval.passage", "image": "retrieval"}


class Service:
    """Answers the requests of all dialects with one model.

    decode: turns token ids into text; None if they are refused.
    index: what `/v1/search` searches; None if there is no such route.
    answered_at: time of the engine's last answer, by the clock of the event loop.
    """

    def __init__(
        self, model: JinaEmbeddings, media: Media, *, decode: Decode | None = None, index: Index | None = None
    ):
        self.model, self.index = model, index
        self._media, self._decode = media, decode
        self.default_task = DEFAULT_TASK if DEFAULT_TASK in model.info.tasks else model.info.tasks[0]
        self.answered_at = 0.0

    async def embeddings(self, body: EmbeddingsRequest, record: Record, claim: Claim) -> bytes:
        """`POST /v1/embeddings`."""
        record.fields = _FIELDS
        if body.is_jina:
            record.dialect = "jina"
        if not body.normalized:
            raise RequestError(422, "input_error", "vectors are normalised: leave it out", field="normalized")
        forms = body.forms
        claim.check_count(body.input)
        result = await self._embed(
            items_of(body.input, self._decode),
            record,
            claim,
            task=body.task or self.default_task,
            truncate=body.truncate,
            truncate_dim=body.dimensions,
            return_multivector=body.return_multivector,
            late_chunking=body.late_chunking,
        )
        began = time.perf_counter()
        answer = await embeddings_json(
            result.embeddings, forms, self._name(body.model), result.usage, multivector=body.return_multivector
        )
        record.add("write", time.perf_counter() - began)
        return answer

    async def multivector(self, body: EmbeddingsRequest, record: Record, claim: Claim) -> bytes:
        """`POST /v1/multi-vector`."""
        body.return_multivector = True
        return await self.embeddings(body, record, claim)

    async def rerank(self, body: RerankRequest, record: Record, claim: Claim) -> dict[str, Any]:
        """`POST /v1/rerank`: the mean over the query's tokens of their best cosine in each document."""
        record.fields = {"inputs": "query"}
        query = pageless_items_of([body.query])
        record.fields = {"inputs": "documents"}
        claim.check_count(body.documents)
        documents = pageless_items_of(body.documents)
        claim.take_items([*query, *documents])
        options = {"truncate": body.truncate, "return_multivector": True}
        record.fields = {"inputs": "query"}
        asked = await self._run(query, record, claim, task="retrieval.query", **options)
        record.fields = {"inputs": "documents"}
        found = await self._run(documents, record, claim, task="retrieval.passage", **options)
        began = time.perf_counter()
        (tokens,) = asked.embeddings
        scores = await asyncio.to_thread(self.model.maxsim, tokens, found.embeddings) / len(tokens)
        order = np.argsort(-scores, kind="stable")[: body.top_n]
        results = [
            {"index": int(index), "relevance_score": float(scores[index])}
            | ({"document": _document(body.documents[index])} if body.return_documents else {})
            for index in order
        ]
        record.add("run", time.perf_counter() - began)
        usage = usage_of(asked.usage + found.usage)
        return {"object": "list", "model": self._name(body.model), "results": results, "usage": usage}

    async def cohere(self, body: CohereRequest, record: Record, claim: Claim) -> dict[str, Any]:
        """`POST /v2/embed`."""
        if body.truncate == "START":
            raise RequestError(
                422, "input_error", "START is not possible: texts are cut at their end", field="truncate"
            )
        for given in (body.texts, body.images, body.inputs):
            claim.check_count(given)
        field, values = body.given
        record.fields = _COHERE_FIELDS | {"inputs": field}
        items = pageless_items_of(values)
        task = _COHERE_TASKS.get(body.input_type, self.default_task)
        options = {"truncate": body.truncate == "END", "truncate_dim": body.output_dimension}
        result = await self._embed(items, record, claim, task=task, **options)
        began = time.perf_counter()
        embeddings = await by_form_json(result.embeddings, list(dict.fromkeys(body.embedding_types)))
        record.add("write", time.perf_counter() - began)
        return {
            "id": uuid.uuid4().hex,
            "embeddings": embeddings,
            "texts": body.texts or [],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": result.usage.num_tokens}},
            "response_type": "embeddings_by_type",
        }

    async def search(self, body: SearchRequest, record: Record, claim: Claim) -> dict[str, Any]:
        """`POST /v1/search`."""
        from ..apps.index import SearchOptions

        assert self.index is not None
        record.fields = _SEARCH_FIELDS
        (item,) = pageless_items_of([body.query])
        claim.take_items([item])
        record.num_inputs = 1
        options = SearchOptions(body.limit, body.filters, body.mode, body.rerank, min_score=body.min_score)
        (query,) = await self._media.opened([item], claim)
        began = time.perf_counter()
        asked = query["text"] if "text" in query else query["image"]
        hits = await self.index.asearch(asked, options, spent=record.add_usage)
        record.add("run", time.perf_counter() - began)
        self._answered()
        usage = usage_of(Usage(record.num_tokens, record.num_image_tokens))
        return {"object": "list", "model": self._name(None), "results": [hit.record() for hit in hits], "usage": usage}

    async def tokenize(self, body: TokenizeRequest, record: Record, claim: Claim) -> dict[str, Any]:
        """`POST /tokenize`."""
        claim.check_count(body.input)
        texts = [body.input] if isinstance(body.input, str) else body.input
        claim.take_items([Item("text", text) for text in texts])
        record.num_inputs = len(texts)
        # Tokenising a megabyte of text takes a second, for which the event loop would stand still.
        counts = await asyncio.to_thread(self.model.count_tokens, texts)
        return {"num_tokens": counts, "usage": {"total_tokens": sum(counts)}}

    async def models(self, body: None, record: Record, claim: Claim) -> dict[str, Any]:
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

    async def _embed(self, items: Sequence[Item], record: Record, claim: Claim, **options: Any) -> Result:
        claim.take_items(items)
        return await self._run(items, record, claim, **options)

    async def _run(
        self, items: Sequence[Item], record: Record, claim: Claim, *, late_chunking: bool = False, **options: Any
    ) -> Result:
        """Embeds inputs that are in the claim already."""
        record.num_inputs += len(items)
        # Said, or the server's own log would be told of the texts that clients had cut.
        options["max_length"] = self.model.info.max_length
        texts = [item.value for item in items if item.kind == "text"]
        if late_chunking:
            if len(texts) < len(items):
                raise InputError("takes texts alone", argument="late_chunking")
            del options["truncate"]
            options["late_chunking"] = True
        if len(texts) == len(items):
            # Small requests of texts alone are prepared in the event loop.
            request = Request.texts(texts, cast(TextOptions, options))
        else:
            before, pixels = time.perf_counter(), claim.num_pixels
            inputs = await self._media.opened(items, claim)
            record.add("wait", time.perf_counter() - before)
            if items[0].kind == "pdf":
                record.fields = {**record.fields, "inputs": "page"}
            record.num_pixels += claim.num_pixels - pixels
            request = Request.mixed(inputs, cast(EncodeOptions, options))
        result = await self.model.aembed(request)
        record.add_result(result.usage, result.times)
        self._answered()
        return result

    def _answered(self) -> None:
        self.answered_at = asyncio.get_running_loop().time()

    def _name(self, asked: str | None) -> str:
        return asked or self.model.info.name


def _document(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"text": value}
