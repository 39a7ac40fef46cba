"""`Preparer`: makes a `Job` of a `Request`; fills in defaults, checks the arguments and prepares the inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import (
    DimensionError,
    InputError,
    JinaEmbeddingsError,
    MultivectorUnavailableError,
    OptionError,
    TaskUnavailableError,
)
from ..inputs.patches import ImageConfig
from ..inputs.processor import Processor
from ..inputs.prompts import PREFIXES, resolve_task
from ..inputs.sources import ImageSource
from ..inputs.tokens import First
from ..types import ModelInfo, Prepared, Task
from .job import Job, Output
from .request import Request, listed_texts
from .together import PreparedTogether


class Preparer:
    """Prepares the calls of one model, with its processor, defaults and limits. Thread-safe."""

    def __init__(
        self,
        processor: Processor,
        info: ModelInfo,
        task: Task,
        prompt_name: str | None,
        *,
        pooling: str,
        normalize: bool,
    ):
        self._processor = processor
        self._info = info
        self._task = task
        self._prompt_name = prompt_name
        self._pooling = pooling
        self._normalize = normalize
        self._together = PreparedTogether(self)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, without a prompt and without truncation."""
        return [len(tokens) for tokens in self._processor.tokenize(listed_texts(texts, "texts"))]

    def count_query_tokens(self, queries: Sequence[str]) -> list[int]:
        """The number of tokens of each query with its prompt; of an empty one, of the prompt without its last space."""
        prefix = PREFIXES["query"]
        return self.count_tokens([prefix + query if query else prefix.rstrip() for query in queries])

    def text_of(self, token_ids: Sequence[int]) -> str:
        """The text that token ids stand for."""
        return self._processor.text_of(token_ids)

    @property
    def image_config(self) -> ImageConfig:
        """How the model wants images."""
        return self._processor.image_config

    async def prepare_soon(self, request: Request) -> Job:
        """`prepare` for a small call of texts, in the event loop; waiting calls share one call of the tokenizer."""
        return await self._together.prepare(request)

    def tokenize(self, requests: Sequence[Request]) -> dict[str, First]:
        """Tokenises the texts of these requests, for the argument `known` of `prepare`; leaves bad requests out."""
        texts: list[tuple[str, str]] = []
        for request in requests:
            with suppress(JinaEmbeddingsError):
                _, prompt = self._resolve(request)
                texts += [(prompt, text) for text in request.inputs]
        return self._processor.tokenize_prompts(texts)

    def prepare(
        self, request: Request, first: int = 0, stop: int | None = None, known: Mapping[str, First] | None = None
    ) -> Job:
        """The job of the inputs `first` to `stop - 1`. known: the result of `tokenize`, if it has run.

        Raises:
            InputError: an input is bad, unless the call skips bad ones; or the model can't return what is asked for.
        """
        task, prompt = self._resolve(request)
        output = self._output(request)
        inputs = request.inputs[first:stop]
        if request.late_chunking:
            items: Sequence[Prepared | InputError] = self._chunks(request, task, prompt)
        elif request.kind == "text":
            items = self._texts(inputs, request, task, prompt, known)
        elif request.kind == "image":
            items = self._images(inputs, request, task)
        else:
            items = self._mixed(inputs, request, task, prompt)
        return Job(items, output, self._pooling, first)

    def _texts(
        self,
        texts: Sequence[Any],
        request: Request,
        task: Task,
        prompt: str,
        known: Mapping[str, First] | None = None,
    ) -> Sequence[Prepared | InputError]:
        return self._processor.texts(
            texts, task, prompt, max_length=request.max_length, truncate=request.truncate, known=known
        )

    def _chunks(self, request: Request, task: Task, prompt: str) -> list[Prepared]:
        if request.single or request.return_multivector or request.return_both or request.on_error == "skip":
            raise OptionError(
                "late_chunking takes a list of chunks, and neither return_multivector nor on_error='skip'",
                argument="late_chunking",
                plain="takes a list of chunks, and gives no multi-vectors",
            )
        if not request.inputs:
            return []
        return [self._processor.chunks(request.inputs, task, prompt, max_length=request.max_length)]

    def _images(self, images: Sequence[ImageSource], request: Request, task: Task) -> Sequence[Prepared | InputError]:
        return self._processor.images(images, task, max_pixels=request.max_pixels)

    def _mixed(
        self, inputs: Sequence[Any], request: Request, task: Task, prompt: str
    ) -> Sequence[Prepared | InputError]:
        kinds = [_kind(value) for value in inputs]
        texts = [value for kind, value in kinds if kind == "text"]
        images = [value for kind, value in kinds if kind == "image"]
        done = {
            "text": iter(self._texts(texts, request, task, prompt)),
            "image": iter(self._images(images, request, task)),
        }
        return [value if kind == "error" else next(done[kind]) for kind, value in kinds]

    def _resolve(self, request: Request) -> tuple[Task, str]:
        task, prompt_name = request.task, request.prompt_name
        if request.kind == "image":
            prompt_name = None
        if task is None:
            task, prompt_name = self._task, prompt_name if prompt_name is not None else self._prompt_name
        resolved, prompt = resolve_task(task, prompt_name)
        if resolved not in self._info.tasks:
            plain = f"{self._info.name} was loaded for {', '.join(self._info.tasks)}, not {resolved!r}"
            message = f"{plain}: load the multi-task checkpoint, without merge_adapter"
            raise TaskUnavailableError(message, argument="task", plain=plain)
        return resolved, prompt

    def _output(self, request: Request) -> Output:
        info, truncate_dim = self._info, request.truncate_dim
        if request.return_multivector or request.return_both:
            if info.multivector_dim is None:
                raise MultivectorUnavailableError(
                    f"{info.name} has no multi_vector_projector: load the multi-task checkpoint for multi-vectors",
                    argument="return_multivector",
                    plain=f"{info.name} has no multi-vectors",
                )
            if truncate_dim is not None and not request.return_both:
                raise DimensionError(
                    "multi-vectors can't be truncated: leave truncate_dim out",
                    argument="truncate_dim",
                    plain="multi-vectors can't be truncated: leave it out",
                )
        if truncate_dim is None:
            truncate_dim = info.truncate_dim
        elif not isinstance(truncate_dim, (int, np.integer)) or truncate_dim not in (
            *info.matryoshka_dims,
            info.hidden_size,
        ):
            plain = (
                f"{truncate_dim} is not one that {info.name} was trained for: "
                f"choose one of {', '.join(map(str, info.matryoshka_dims))}"
            )
            raise DimensionError(f"truncate_dim={plain}", argument="truncate_dim", plain=plain)
        output = Output(
            multivector=request.return_multivector and not request.return_both,
            both=request.return_both,
            truncate_dim=truncate_dim,
            normalize=self._normalize,
            embedding_type=request.embedding_type,
            return_numpy=request.return_numpy,
            on_error=request.on_error,
            single=request.single,
            dim=info.hidden_size,
        )
        output.check()
        return output


def _kind(value: object) -> tuple[str, Any]:
    """Tells texts from images: (`text`, value), (`image`, value), or (`error`, exception)."""
    if isinstance(value, str):
        return "text", value
    if isinstance(value, Mapping):
        if len(value) == 1 and next(iter(value)) in ("text", "image"):
            return next(iter(value.items()))
        return "error", InputError(f'a mapping holds either "text" or "image", not {", ".join(map(repr, value))}')
    if isinstance(value, (bytes, os.PathLike)) or hasattr(value, "size") or hasattr(value, "read"):
        return "image", value
    return "error", InputError(f"an input is a text or an image, not {type(value).__name__}")
