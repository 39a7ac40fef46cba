"""`encode_text`, `encode_image` and `encode`: their arguments, and what type each returns for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from ..inputs.sources import ImageSource
from ..types import EmbeddingType, Partial
from .options import (
    ArrayImages,
    ArrayMixed,
    ArrayTexts,
    Base64,
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
    """The calls that block, made of `embed`. Two results can't be told apart by their types: see `encode_text`."""

    @abstractmethod
    def embed(self, request: Request) -> Result:
        """What all of these do: the embeddings of a request, and what its inputs came to in tokens."""

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
        """Vectors of texts.

        Args:
            texts: one text or several.
            task: `retrieval`, `text-matching`, `code`; `retrieval.query` and the like name the prompt too.
            max_length: in tokens, prompt included; longer texts are cut there.
            batch_size: most inputs in one forward (vLLM batches by itself).
            return_multivector: one vector a token instead of one a text.
            return_numpy: False gives a list of torch tensors.
            truncate_dim: one of `info.matryoshka_dims`; `info.truncate_dim` if left out.
            prompt_name: `query` (default), `passage`, or `code`.
            late_chunking: the texts are consecutive chunks of one document, and each chunk's vector is
                pooled after the model has read all those before it.
            truncate: False makes a text over `max_length` an error.
            embedding_type: `float`, `int8`, `binary`, `ubinary` or `base64`; see `quantization`.
            on_error: `skip` passes over bad inputs and returns a `Partial`.
            show_progress: show a bar on stderr, or in the notebook.

        Returns:
            float32 (n, dim); (dim,) for a single str. Multi-vector: a list of (tokens, multivector_dim),
            or that array alone for a single str. With `on_error="skip"`: `Partial(embeddings, kept, skipped)`,
            whose embeddings always have the form for several texts.
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
        """Vectors of images.

        Args:
            images: one or several of: path, http(s) or data URL, base64, bytes, `PIL.Image`, numpy array
                (height, width, 3), `file.pdf#page=2`.
            max_pixels: an image is made smaller until it has at most this many.

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
        """Vectors of texts and images in one list, in order.

        A str is a text; a path object, bytes, `PIL.Image` or array is an image; `{"text": ...}` and
        `{"image": ...}` say it outright, which is how an image is given by URL. Arguments and result as
        in `encode_text` and `encode_image`.
        """
        return self.embed(Request.mixed(inputs, options)).embeddings
