"""Types of the keyword arguments of `encode_text` and its like: of each call, and of each form of result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict

from ..inputs.sources import ImageSource
from ..types import EmbeddingType

OnError = Literal["raise", "skip"]
Input: TypeAlias = "str | ImageSource | Mapping[str, Any]"


class _Inputs(TypedDict, total=False):
    batch_size: int | None
    truncate_dim: int | None
    show_progress: bool


class _Texts(_Inputs, total=False):
    prompt_name: str | None
    max_length: int | None
    truncate: bool
    late_chunking: bool


class _Images(_Inputs, total=False):
    max_pixels: int | None


class _Mixed(_Inputs, total=False):
    task: str | None
    prompt_name: str | None
    max_length: int | None
    truncate: bool
    max_pixels: int | None


class _Any(TypedDict, total=False):
    return_multivector: bool
    return_numpy: bool
    embedding_type: EmbeddingType
    on_error: OnError


class TextOptions(_Texts, _Any, total=False):
    """Keyword arguments of `encode_text` and `aencode_text`."""

    task: str | None


class ImageOptions(_Images, _Any, total=False):
    """Keyword arguments of `encode_image` and `aencode_image`."""

    task: str | None


class EncodeOptions(_Mixed, _Any, total=False):
    """Keyword arguments of `encode`, `aencode`, `stream` and `astream`."""

    return_both: bool


# Values of the arguments that choose the form of a result, by overload. The classes below have the arguments that each
# form may be combined with.
Yes: TypeAlias = Literal[True]
No: TypeAlias = Literal[False]
Signed: TypeAlias = Literal["int8", "binary"]
Unsigned: TypeAlias = Literal["ubinary"]
Base64: TypeAlias = Literal["base64"]
Skip: TypeAlias = Literal["skip"]


class _Partial(TypedDict, total=False):
    return_multivector: bool
    return_numpy: bool
    embedding_type: EmbeddingType


class _Tensors(TypedDict, total=False):
    return_multivector: bool
    embedding_type: EmbeddingType
    on_error: Literal["raise"]


class _Arrays(TypedDict, total=False):
    return_numpy: Literal[True]
    embedding_type: Literal["float"]
    on_error: Literal["raise"]


class _Quantized(TypedDict, total=False):
    return_multivector: Literal[False]
    return_numpy: Literal[True]
    on_error: Literal["raise"]


class _Both(TypedDict, total=False):
    return_numpy: bool
    embedding_type: EmbeddingType
    on_error: Literal["raise"]


class PartialTexts(_Texts, _Partial): ...


class TensorTexts(_Texts, _Tensors): ...


class ArrayTexts(_Texts, _Arrays): ...


class QuantizedTexts(_Texts, _Quantized): ...


class PartialImages(_Images, _Partial): ...


class TensorImages(_Images, _Tensors): ...


class ArrayImages(_Images, _Arrays): ...


class QuantizedImages(_Images, _Quantized): ...


class PartialMixed(_Mixed, _Partial): ...


class TensorMixed(_Mixed, _Tensors): ...


class ArrayMixed(_Mixed, _Arrays): ...


class QuantizedMixed(_Mixed, _Quantized): ...


class BothMixed(_Mixed, _Both): ...
