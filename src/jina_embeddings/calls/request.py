"""`Request`: the arguments of one call, frozen: the inputs, their task and prompt, and the form of the result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from ..errors import InputError, OptionError, suggest
from ..inputs.sources import ImageSource
from ..types import EmbeddingType
from .options import Input, OnError


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of one call. Use `texts`, `images` or `mixed` to make one: they check the arguments.

    kind: what the inputs are; `mixed` if each has to be looked at.
    inputs: all inputs, in order.
    single: the input was not in a list, so the result is one vector instead of rows.
    The other fields are the arguments of `JinaEmbeddings.encode_text` and `encode_image`.
    """

    kind: Literal["text", "image", "mixed"]
    inputs: Sequence[Any]
    single: bool
    task: str | None = None
    prompt_name: str | None = None
    max_length: int | None = None
    truncate: bool = True
    late_chunking: bool = False
    max_pixels: int | None = None
    batch_size: int | None = None
    return_multivector: bool = False
    return_both: bool = False
    return_numpy: bool = True
    truncate_dim: int | None = None
    embedding_type: EmbeddingType = "float"
    on_error: OnError = "raise"
    show_progress: bool = False

    @classmethod
    def texts(cls, texts: str | Sequence[str], options: Mapping[str, object]) -> Request:
        """The request of `encode_text`."""
        single = isinstance(texts, str)
        listed: Sequence[Any] = [texts] if single else listed_texts(texts, "texts")
        return cls("text", listed, single, **_known(options))

    @classmethod
    def images(cls, images: ImageSource | Sequence[ImageSource], options: Mapping[str, object]) -> Request:
        """The request of `encode_image`."""
        return cls("image", *_listed(images), **_known(options))

    @classmethod
    def mixed(cls, inputs: Input | Sequence[Input], options: Mapping[str, object]) -> Request:
        """The request of `encode`."""
        listed, single = _listed(inputs)
        texts = [_text_of(value) for value in listed]
        if all(isinstance(text, str) for text in texts):
            return cls("text", texts, single, **_known(options))
        return cls("mixed", listed, single, **_known(options))


def _text_of(value: Any) -> Any:
    """The text of a mapping `{"text": ...}`; any other value is returned as it is."""
    if isinstance(value, str):  # which is quicker to tell
        return value
    return value["text"] if isinstance(value, Mapping) and list(value) == ["text"] else value


_OPTIONS = frozenset(field.name for field in fields(Request)) - {"kind", "inputs", "single"}


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in _OPTIONS:
            raise OptionError(f"unknown argument {name!r}{suggest(name, sorted(_OPTIONS))}")
    batch_size = options.get("batch_size")
    if batch_size is not None:
        check_count(batch_size, "batch_size")
    return dict(options)


def check_count(value: object, name: str) -> None:
    """Raises OptionError if the value is not a whole number above 0."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or int(value) <= 0:
        raise OptionError(f"{name} must be a whole number above 0, not {value!r}")


def listed_texts(texts: Any, name: str) -> list[Any]:
    """The texts as a list; raises InputError for a single text and for values without an order."""
    _refuse_unordered(texts, name)
    if isinstance(texts, (str, bytes, Mapping)) or not isinstance(texts, Iterable):
        raise InputError(f"{name} must be a list of str, not {type(texts).__name__}")
    try:
        return list(texts)
    except TypeError as error:  # an array without a dimension
        raise InputError(f"{name} must be a list of str: {error}") from None


def _listed(inputs: Any) -> tuple[Sequence[Any], bool]:
    """(inputs, single): the values of a list, tuple or iterator; any other value is a single input."""
    if isinstance(inputs, (list, tuple)):
        return inputs, False
    if isinstance(inputs, Iterator) and not hasattr(inputs, "read"):
        return list(inputs), False
    _refuse_unordered(inputs, "inputs")
    return [inputs], True


def _refuse_unordered(value: Any, name: str) -> None:
    """Raises InputError for a set, whose order is unknown, and for a table, which iterates over column names."""
    if isinstance(value, (set, frozenset)):
        raise InputError(f"{name} must be a list, not a {type(value).__name__}, which has no order: use sorted(...)")
    if hasattr(value, "columns") and hasattr(value, "shape"):
        raise InputError(f"{name} must be a list, not a table: give one of its columns")
