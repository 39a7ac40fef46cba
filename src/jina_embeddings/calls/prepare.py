"""From the arguments of a call to a `Job`: defaults, checks, preparing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias, TypedDict

import numpy as np

from ..errors import (
    CautionWarning,
    DimensionError,
    InputError,
    MultivectorUnavailableError,
    OptionError,
    TaskUnavailableError,
    suggest,
)
from ..inputs.processor import Processor
from ..inputs.prompts import resolve_task
from ..inputs.sources import ImageSource
from ..types import EmbeddingType, ModelInfo, Prepared, Task
from .job import Job, OnError, Output

Input: TypeAlias = "str | ImageSource | Mapping[str, Any]"


class _Common(TypedDict, total=False):
    task: str | None
    batch_size: int | None
    return_multivector: bool
    return_numpy: bool
    truncate_dim: int | None
    embedding_type: EmbeddingType
    on_error: OnError


class ImageOptions(_Common, total=False):
    """Keyword arguments of `encode_image` and `aencode_image`."""

    max_pixels: int | None


class TextOptions(_Common, total=False):
    """Keyword arguments of `encode_text` and `aencode_text`."""

    prompt_name: str | None
    max_length: int | None
    truncate: bool
    late_chunking: bool


class EncodeOptions(_Common, total=False):
    """Keyword arguments of `encode`, `aencode`, `stream` and `astream`."""

    prompt_name: str | None
    max_length: int | None
    truncate: bool
    max_pixels: int | None


_ARGUMENTS = sorted({*TextOptions.__annotations__, *ImageOptions.__annotations__} | set(_Common.__annotations__))


class Calls:
    """What every call of one model has in common: its processor, its defaults, its limits."""

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
        self._first = 0

    def starting_at(self, first: int) -> Calls:
        """The same for a part of a call, whose first input has that index in the call."""
        part = copy(self)
        part._first = first
        return part

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as it is."""
        return [len(tokens) for tokens in self._processor.tokenize(_listed(texts, "texts"))]

    def text(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        prompt_name: str | None = None,
        max_length: int | None = None,
        truncate: bool = True,
        late_chunking: bool = False,
        **common: Any,
    ) -> Job:
        """The job of `encode_text`; see there."""
        resolved, prompt = self._resolve(task, prompt_name)
        single = isinstance(texts, str)
        output = self._output(single=single, **common)
        listed = [texts] if isinstance(texts, str) else _listed(texts, "texts")
        if not late_chunking:
            items = self._processor.texts(listed, resolved, prompt, max_length=max_length, truncate=truncate)
            return self._job(items, output)
        if single or output.multivector or output.on_error == "skip":
            raise OptionError(
                "late_chunking takes a list of chunks, and neither return_multivector nor on_error='skip'"
            )
        return self._job(
            [self._processor.chunks(listed, resolved, prompt, max_length=max_length)] if listed else [], output
        )

    def image(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        task: str | None = None,
        max_pixels: int | None = None,
        **common: Any,
    ) -> Job:
        """The job of `encode_image`; see there."""
        resolved, _ = self._resolve(task, None)
        single = not isinstance(images, (list, tuple, Iterator))
        output = self._output(single=single, **common)
        listed: Any = [images] if single else list(images)  # type: ignore[arg-type]
        return self._job(self._images(listed, resolved, max_pixels), output)

    def mixed(
        self,
        inputs: Input | Sequence[Input],
        *,
        task: str | None = None,
        prompt_name: str | None = None,
        max_length: int | None = None,
        truncate: bool = True,
        max_pixels: int | None = None,
        **common: Any,
    ) -> Job:
        """The job of `encode`; see there."""
        resolved, prompt = self._resolve(task, prompt_name)
        single = not isinstance(inputs, (list, tuple, Iterator))
        output = self._output(single=single, **common)
        listed: Any = [inputs] if single else list(inputs)  # type: ignore[arg-type]
        kinds = [_kind(value) for value in listed]
        texts = [value for kind, value in kinds if kind == "text"]
        images = [value for kind, value in kinds if kind == "image"]
        done = {
            "text": iter(self._processor.texts(texts, resolved, prompt, max_length=max_length, truncate=truncate)),
            "image": iter(self._images(images, resolved, max_pixels)),
        }
        items = [value if kind == "error" else next(done[kind]) for kind, value in kinds]
        return self._job(items, output)

    def _images(
        self, images: Sequence[ImageSource], task: Task, max_pixels: int | None
    ) -> Sequence[Prepared | InputError]:
        if images and "image" in self._info.cautions:
            warnings.warn(f"{self._info.name}: {self._info.cautions['image']}", CautionWarning, stacklevel=2)
        return self._processor.images(images, task, max_pixels=max_pixels)

    def _job(self, items: Sequence[Prepared | InputError], output: Output) -> Job:
        return Job(items, output, self._pooling, self._first)

    def _resolve(self, task: str | None, prompt_name: str | None) -> tuple[Task, str]:
        if task is None:
            task, prompt_name = self._task, prompt_name or self._prompt_name
        resolved, prompt = resolve_task(task, prompt_name)
        if resolved not in self._info.tasks:
            raise TaskUnavailableError(
                f"{self._info.name} was loaded for {', '.join(self._info.tasks)}, not {resolved!r}: "
                "load the multi-task checkpoint, without merge_adapter"
            )
        return resolved, prompt

    def _output(
        self,
        *,
        single: bool,
        return_multivector: bool = False,
        return_numpy: bool = True,
        truncate_dim: int | None = None,
        embedding_type: str = "float",
        on_error: OnError = "raise",
        **unknown: Any,
    ) -> Output:
        for name in unknown:
            raise OptionError(f"unknown argument {name!r}{suggest(name, _ARGUMENTS)}")
        info = self._info
        if return_multivector:
            if info.multivector_dim is None:
                raise MultivectorUnavailableError(
                    f"{info.name} has no multi_vector_projector: load the multi-task checkpoint for multi-vectors"
                )
            if truncate_dim is not None:
                raise DimensionError("multi-vectors can't be truncated: leave truncate_dim out")
        elif truncate_dim is not None and (
            not isinstance(truncate_dim, (int, np.integer))
            or truncate_dim not in (*info.matryoshka_dims, info.hidden_size)
        ):
            raise DimensionError(
                f"truncate_dim={truncate_dim} is not one that {info.name} was trained for: "
                f"choose one of {', '.join(map(str, info.matryoshka_dims))}"
            )
        output = Output(
            multivector=return_multivector,
            truncate_dim=truncate_dim,
            normalize=self._normalize,
            embedding_type=embedding_type,
            return_numpy=return_numpy,
            on_error=on_error,
            single=single,
            dim=info.hidden_size,
        )
        output.check()
        return output


def _listed(texts: Sequence[str], name: str) -> list[str]:
    if isinstance(texts, (bytes, Mapping)) or not isinstance(texts, Iterable):
        raise InputError(f"{name} must be a str or a list of them, not {type(texts).__name__}")
    return list(texts)


def _kind(value: object) -> tuple[str, Any]:
    """(`text` | `image`, the value), or (`error`, what is wrong with it)."""
    if isinstance(value, str):
        return "text", value
    if isinstance(value, Mapping):
        if len(value) == 1 and next(iter(value)) in ("text", "image"):
            return next(iter(value.items()))
        return "error", InputError(f'a mapping holds either "text" or "image", not {", ".join(map(repr, value))}')
    if isinstance(value, (bytes, os.PathLike)) or hasattr(value, "size"):
        return "image", value
    return "error", InputError(f"an input is a text or an image, not {type(value).__name__}")
