"""`encode_text`, `encode_image` and `encode`: their arguments, and the type of each form of result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from ..inputs.sources import ImageSource
from ..types import Both, EmbeddingType, Partial
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
    OnError,
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


class Encode(ABC):
    """The calls that block; all of them use `embed`.

    A str is a Sequence[str] too, so overloads for one text and for several overlap, and mypy has to ignore that.
    """

    @abstractmethod
    def embed(self, request: Request) -> Result:
        """Returns the embeddings of a request, with the number of tokens and the time that they took."""

    @overload
    def encode_text(  # type: ignore[overload-overlap]
        self, texts: str, task: str | None = ..., *, return_multivector: bool = ..., **more: Unpack[ArrayTexts]
    ) -> FloatArray: ...

    @overload
    def encode_text(
        self, texts: Sequence[str], task: str | None = ..., *, return_multivector: No = ..., **more: Unpack[ArrayTexts]
    ) -> FloatArray: ...

    @overload
    def encode_text(
        self, texts: Sequence[str], task: str | None = ..., *, return_multivector: Yes, **more: Unpack[ArrayTexts]
    ) -> list[FloatArray]: ...

    @overload
    def encode_text(  # type: ignore[overload-overlap]
        self, texts: str, task: str | None = ..., *, return_numpy: No, **more: Unpack[TensorTexts]
    ) -> Tensor: ...

    @overload
    def encode_text(
        self, texts: Sequence[str], task: str | None = ..., *, return_numpy: No, **more: Unpack[TensorTexts]
    ) -> list[Tensor]: ...

    @overload
    def encode_text(
        self,
        texts: str | Sequence[str],
        task: str | None = ...,
        *,
        embedding_type: Signed,
        **more: Unpack[QuantizedTexts],
    ) -> NDArray[np.int8]: ...

    @overload
    def encode_text(
        self,
        texts: str | Sequence[str],
        task: str | None = ...,
        *,
        embedding_type: Unsigned,
        **more: Unpack[QuantizedTexts],
    ) -> NDArray[np.uint8]: ...

    @overload
    def encode_text(  # type: ignore[overload-overlap]
        self, texts: str, task: str | None = ..., *, embedding_type: Base64, **more: Unpack[QuantizedTexts]
    ) -> str: ...

    @overload
    def encode_text(
        self, texts: Sequence[str], task: str | None = ..., *, embedding_type: Base64, **more: Unpack[QuantizedTexts]
    ) -> list[str]: ...

    @overload
    def encode_text(
        self, texts: str | Sequence[str], task: str | None = ..., *, on_error: Skip, **more: Unpack[PartialTexts]
    ) -> Partial: ...

    @overload
    def encode_text(
        self,
        texts: str | Sequence[str],
        task: str | None = ...,
        max_length: int | None = ...,
        batch_size: int | None = ...,
        return_multivector: bool = ...,
        return_numpy: bool = ...,
        truncate_dim: int | None = ...,
        prompt_name: str | None = ...,
        *,
        late_chunking: bool = ...,
        truncate: bool = ...,
        embedding_type: EmbeddingType = ...,
        on_error: OnError = ...,
    ) -> Any: ...

    def encode_text(
        self,
        texts: str | Sequence[str],
        task: str | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
        return_multivector: bool = False,
        return_numpy: bool = True,
        truncate_dim: int | None = None,
        prompt_name: str | None = None,
        *,
        late_chunking: bool = False,
        truncate: bool = True,
        embedding_type: EmbeddingType = "float",
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> Any:
        """Embeds texts.

        Args:
            texts: one text or several.
            task: `retrieval`, `text-matching` or `code`; a name such as `retrieval.query` contains the prompt name.
            max_length: the most tokens of a text, prompt included; longer texts are truncated.
            batch_size: the most inputs of one forward; without effect on vLLM, which batches by itself.
            return_multivector: return a vector for each token instead of one for each text.
            return_numpy: if False, return a list of torch tensors.
            truncate_dim: the dimension of vectors, one of `info.matryoshka_dims`; by default `info.truncate_dim`.
            prompt_name: `query` (the default), `passage` or `code`.
            late_chunking: the texts are consecutive chunks of one document, which the model reads as a whole; each
                chunk's vector is pooled over its own tokens.
            truncate: if False, a text of more than `max_length` tokens is an error.
            embedding_type: `float`, `int8`, `binary`, `ubinary` or `base64`; see `vectors.quantization`.
            on_error: `raise`, or `skip` to leave bad inputs out and return a `Partial`.
            show_progress: show a progress bar on stderr, or in the notebook.

        Returns:
            A float32 array (texts, dim), or (dim,) for a single str. Multi-vectors are a list of arrays (tokens,
            multivector_dim), or one such array for a single str. With `on_error="skip"`, it is a
            `Partial(embeddings, kept, skipped)`, whose embeddings always have the form for several texts.
        """
        options: TextOptions = {
            "task": task,
            "prompt_name": prompt_name,
            "max_length": max_length,
            "batch_size": batch_size,
            "truncate": truncate,
            "late_chunking": late_chunking,
            "return_multivector": return_multivector,
            "return_numpy": return_numpy,
            "truncate_dim": truncate_dim,
            "embedding_type": embedding_type,
            "on_error": on_error,
            "show_progress": show_progress,
        }
        return self.embed(Request.texts(texts, options)).embeddings

    @overload
    def encode_image(  # type: ignore[overload-overlap]
        self,
        images: ImageSource,
        task: str | None = ...,
        *,
        return_multivector: bool = ...,
        **more: Unpack[ArrayImages],
    ) -> FloatArray: ...

    @overload
    def encode_image(
        self,
        images: Sequence[ImageSource],
        task: str | None = ...,
        *,
        return_multivector: No = ...,
        **more: Unpack[ArrayImages],
    ) -> FloatArray: ...

    @overload
    def encode_image(
        self,
        images: Sequence[ImageSource],
        task: str | None = ...,
        *,
        return_multivector: Yes,
        **more: Unpack[ArrayImages],
    ) -> list[FloatArray]: ...

    @overload
    def encode_image(  # type: ignore[overload-overlap]
        self, images: ImageSource, task: str | None = ..., *, return_numpy: No, **more: Unpack[TensorImages]
    ) -> Tensor: ...

    @overload
    def encode_image(
        self, images: Sequence[ImageSource], task: str | None = ..., *, return_numpy: No, **more: Unpack[TensorImages]
    ) -> list[Tensor]: ...

    @overload
    def encode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = ...,
        *,
        embedding_type: Signed,
        **more: Unpack[QuantizedImages],
    ) -> NDArray[np.int8]: ...

    @overload
    def encode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = ...,
        *,
        embedding_type: Unsigned,
        **more: Unpack[QuantizedImages],
    ) -> NDArray[np.uint8]: ...

    @overload
    def encode_image(  # type: ignore[overload-overlap]
        self, images: ImageSource, task: str | None = ..., *, embedding_type: Base64, **more: Unpack[QuantizedImages]
    ) -> str: ...

    @overload
    def encode_image(
        self,
        images: Sequence[ImageSource],
        task: str | None = ...,
        *,
        embedding_type: Base64,
        **more: Unpack[QuantizedImages],
    ) -> list[str]: ...

    @overload
    def encode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = ...,
        *,
        on_error: Skip,
        **more: Unpack[PartialImages],
    ) -> Partial: ...

    @overload
    def encode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = ...,
        batch_size: int | None = ...,
        return_multivector: bool = ...,
        return_numpy: bool = ...,
        truncate_dim: int | None = ...,
        max_pixels: int | None = ...,
        *,
        embedding_type: EmbeddingType = ...,
        on_error: OnError = ...,
    ) -> Any: ...

    def encode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        task: str | None = None,
        batch_size: int | None = None,
        return_multivector: bool = False,
        return_numpy: bool = True,
        truncate_dim: int | None = None,
        max_pixels: int | None = None,
        *,
        embedding_type: EmbeddingType = "float",
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> Any:
        """Embeds images.

        Args:
            images: one image or several. Each is a path, an http(s) or data URL, base64, bytes, a `PIL.Image`, an array
                (height, width, 3) or a page of a PDF, `file.pdf#page=2`.
            max_pixels: the most pixels of an image; larger images are resized.

        The other arguments and the result are those of `encode_text`.
        """
        options: ImageOptions = {
            "task": task,
            "max_pixels": max_pixels,
            "batch_size": batch_size,
            "return_multivector": return_multivector,
            "return_numpy": return_numpy,
            "truncate_dim": truncate_dim,
            "embedding_type": embedding_type,
            "on_error": on_error,
            "show_progress": show_progress,
        }
        return self.embed(Request.images(images, options)).embeddings

    @overload
    def encode(self, inputs: Input, *, return_multivector: bool = ..., **more: Unpack[ArrayMixed]) -> FloatArray: ...  # type: ignore[overload-overlap]

    @overload
    def encode(
        self, inputs: Sequence[Input], *, return_multivector: No = ..., **more: Unpack[ArrayMixed]
    ) -> FloatArray: ...

    @overload
    def encode(
        self, inputs: Sequence[Input], *, return_multivector: Yes, **more: Unpack[ArrayMixed]
    ) -> list[FloatArray]: ...

    @overload
    def encode(self, inputs: Input, *, return_numpy: No, **more: Unpack[TensorMixed]) -> Tensor: ...  # type: ignore[overload-overlap]

    @overload
    def encode(self, inputs: Sequence[Input], *, return_numpy: No, **more: Unpack[TensorMixed]) -> list[Tensor]: ...

    @overload
    def encode(self, inputs: Input | Sequence[Input], *, return_both: Yes, **more: Unpack[BothMixed]) -> Both: ...

    @overload
    def encode(
        self, inputs: Input | Sequence[Input], *, embedding_type: Signed, **more: Unpack[QuantizedMixed]
    ) -> NDArray[np.int8]: ...

    @overload
    def encode(
        self, inputs: Input | Sequence[Input], *, embedding_type: Unsigned, **more: Unpack[QuantizedMixed]
    ) -> NDArray[np.uint8]: ...

    @overload
    def encode(self, inputs: Input, *, embedding_type: Base64, **more: Unpack[QuantizedMixed]) -> str: ...  # type: ignore[overload-overlap]

    @overload
    def encode(
        self, inputs: Sequence[Input], *, embedding_type: Base64, **more: Unpack[QuantizedMixed]
    ) -> list[str]: ...

    @overload
    def encode(self, inputs: Input | Sequence[Input], *, on_error: Skip, **more: Unpack[PartialMixed]) -> Partial: ...

    @overload
    def encode(self, inputs: Input | Sequence[Input], **options: Unpack[EncodeOptions]) -> Any: ...

    def encode(self, inputs: Input | Sequence[Input], **options: Any) -> Any:
        """Embeds texts and images together, in order.

        A str is a text. A path object, bytes, a `PIL.Image` or an array is an image. `{"text": ...}` and
        `{"image": ...}` can hold any text or image; use the latter for an image by URL. Arguments and result are those
        of `encode_text` and `encode_image`; with `return_both=True` a `Both(dense, multivector)`, from one pass of the
        model.
        """
        return self.embed(Request.mixed(inputs, options)).embeddings
