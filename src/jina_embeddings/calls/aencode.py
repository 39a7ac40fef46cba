"""`aencode_text`, `aencode_image` and `aencode`: the calls for asyncio, with the type of each form of result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from ..inputs.sources import ImageSource
from ..types import Both, Partial
from .options import (
    ArrayImages,
    ArrayMixed,
    ArrayTexts,
    Base64,
    BothMixed,
    EncodeOptions,
    ImageOptions,
    Input,
    No,
    PartialImages,
    PartialMixed,
    PartialTexts,
    QuantizedImages,
    QuantizedMixed,
    QuantizedTexts,
    Signed,
    Skip,
    TensorImages,
    TensorMixed,
    TensorTexts,
    TextOptions,
    Unsigned,
    Yes,
)
from .request import Request
from .run import Result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ..types import FloatArray


class AsyncEncode(ABC):
    """The calls for asyncio; all of them use `aembed`."""

    @abstractmethod
    async def aembed(self, request: Request) -> Result:
        """Does the same as `embed` without blocking the event loop."""

    @overload
    async def aencode_text(  # type: ignore[overload-overlap]
        self, texts: str, task: str | None = ..., *, return_multivector: bool = ..., **more: Unpack[ArrayTexts]
    ) -> FloatArray: ...

    @overload
    async def aencode_text(
        self, texts: Sequence[str], task: str | None = ..., *, return_multivector: No = ..., **more: Unpack[ArrayTexts]
    ) -> FloatArray: ...

    @overload
    async def aencode_text(
        self, texts: Sequence[str], task: str | None = ..., *, return_multivector: Yes, **more: Unpack[ArrayTexts]
    ) -> list[FloatArray]: ...

    @overload
    async def aencode_text(  # type: ignore[overload-overlap]
        self, texts: str, task: str | None = ..., *, return_numpy: No, **more: Unpack[TensorTexts]
    ) -> Tensor: ...

    @overload
    async def aencode_text(
        self, texts: Sequence[str], task: str | None = ..., *, return_numpy: No, **more: Unpack[TensorTexts]
    ) -> list[Tensor]: ...

    @overload
    async def aencode_text(
        self,
        texts: str | Sequence[str],
        task: str | None = ...,
        *,
        embedding_type: Signed,
        **more: Unpack[QuantizedTexts],
    ) -> NDArray[np.int8]: ...

    @overload
    async def aencode_text(
        self,
        texts: str | Sequence[str],
        task: str | None = ...,
        *,
        embedding_type: Unsigned,
        **more: Unpack[QuantizedTexts],
    ) -> NDArray[np.uint8]: ...

    @overload
    async def aencode_text(  # type: ignore[overload-overlap]
        self, texts: str, task: str | None = ..., *, embedding_type: Base64, **more: Unpack[QuantizedTexts]
    ) -> str: ...

    @overload
    async def aencode_text(
        self, texts: Sequence[str], task: str | None = ..., *, embedding_type: Base64, **more: Unpack[QuantizedTexts]
    ) -> list[str]: ...

    @overload
    async def aencode_text(
        self, texts: str | Sequence[str], task: str | None = ..., *, on_error: Skip, **more: Unpack[PartialTexts]
    ) -> Partial: ...

    @overload
    async def aencode_text(self, texts: str | Sequence[str], **options: Unpack[TextOptions]) -> Any: ...

    async def aencode_text(self, texts: str | Sequence[str], task: str | None = None, **options: Any) -> Any:
        """Does the same as `encode_text` without blocking the event loop."""
        return (await self.aembed(Request.texts(texts, {"task": task, **options}))).embeddings

    @overload
    async def aencode_image(  # type: ignore[overload-overlap]
        self,
        images: ImageSource,
        task: str | None = ...,
        *,
        return_multivector: bool = ...,
        **more: Unpack[ArrayImages],
    ) -> FloatArray: ...

    @overload
    async def aencode_image(
        self,
        images: Sequence[ImageSource],
        task: str | None = ...,
        *,
        return_multivector: No = ...,
        **more: Unpack[ArrayImages],
    ) -> FloatArray: ...

    @overload
    async def aencode_image(
        self,
        images: Sequence[ImageSource],
        task: str | None = ...,
        *,
        return_multivector: Yes,
        **more: Unpack[ArrayImages],
    ) -> list[FloatArray]: ...

    @overload
    async def aencode_image(  # type: ignore[overload-overlap]
        self, images: ImageSource, task: str | None = ..., *, return_numpy: No, **more: Unpack[TensorImages]
    ) -> Tensor: ...

    @overload
    async def aencode_image(
        self, images: Sequence[ImageSource], task: str | None = ..., *, return_numpy: No, **more: Unpack[TensorImages]
    ) -> list[Tensor]: ...

    @overload
    async def aencode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = ...,
        *,
        embedding_type: Signed,
        **more: Unpack[QuantizedImages],
    ) -> NDArray[np.int8]: ...

    @overload
    async def aencode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = ...,
        *,
        embedding_type: Unsigned,
        **more: Unpack[QuantizedImages],
    ) -> NDArray[np.uint8]: ...

    @overload
    async def aencode_image(  # type: ignore[overload-overlap]
        self, images: ImageSource, task: str | None = ..., *, embedding_type: Base64, **more: Unpack[QuantizedImages]
    ) -> str: ...

    @overload
    async def aencode_image(
        self,
        images: Sequence[ImageSource],
        task: str | None = ...,
        *,
        embedding_type: Base64,
        **more: Unpack[QuantizedImages],
    ) -> list[str]: ...

    @overload
    async def aencode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = ...,
        *,
        on_error: Skip,
        **more: Unpack[PartialImages],
    ) -> Partial: ...

    @overload
    async def aencode_image(
        self, images: ImageSource | Sequence[ImageSource], **options: Unpack[ImageOptions]
    ) -> Any: ...

    async def aencode_image(
        self, images: ImageSource | Sequence[ImageSource], task: str | None = None, **options: Any
    ) -> Any:
        """Does the same as `encode_image` without blocking the event loop."""
        return (await self.aembed(Request.images(images, {"task": task, **options}))).embeddings

    @overload
    async def aencode(  # type: ignore[overload-overlap]
        self, inputs: Input, *, return_multivector: bool = ..., **more: Unpack[ArrayMixed]
    ) -> FloatArray: ...

    @overload
    async def aencode(
        self, inputs: Sequence[Input], *, return_multivector: No = ..., **more: Unpack[ArrayMixed]
    ) -> FloatArray: ...

    @overload
    async def aencode(
        self, inputs: Sequence[Input], *, return_multivector: Yes, **more: Unpack[ArrayMixed]
    ) -> list[FloatArray]: ...

    @overload
    async def aencode(  # type: ignore[overload-overlap]
        self, inputs: Input, *, return_numpy: No, **more: Unpack[TensorMixed]
    ) -> Tensor: ...

    @overload
    async def aencode(
        self, inputs: Sequence[Input], *, return_numpy: No, **more: Unpack[TensorMixed]
    ) -> list[Tensor]: ...

    @overload
    async def aencode(
        self, inputs: Input | Sequence[Input], *, return_both: Yes, **more: Unpack[BothMixed]
    ) -> Both: ...

    @overload
    async def aencode(
        self, inputs: Input | Sequence[Input], *, embedding_type: Signed, **more: Unpack[QuantizedMixed]
    ) -> NDArray[np.int8]: ...

    @overload
    async def aencode(
        self, inputs: Input | Sequence[Input], *, embedding_type: Unsigned, **more: Unpack[QuantizedMixed]
    ) -> NDArray[np.uint8]: ...

    @overload
    async def aencode(  # type: ignore[overload-overlap]
        self, inputs: Input, *, embedding_type: Base64, **more: Unpack[QuantizedMixed]
    ) -> str: ...

    @overload
    async def aencode(
        self, inputs: Sequence[Input], *, embedding_type: Base64, **more: Unpack[QuantizedMixed]
    ) -> list[str]: ...

    @overload
    async def aencode(
        self, inputs: Input | Sequence[Input], *, on_error: Skip, **more: Unpack[PartialMixed]
    ) -> Partial: ...

    @overload
    async def aencode(self, inputs: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any: ...

    async def aencode(self, inputs: Input | Sequence[Input], **options: Any) -> Any:
        """Does the same as `encode` without blocking the event loop."""
        return (await self.aembed(Request.mixed(inputs, options))).embeddings
