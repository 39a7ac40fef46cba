"""The types that the parts of the package exchange: tasks, prepared inputs and results. Imports nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

Task = Literal["retrieval", "text-matching", "code"]
TASKS: tuple[Task, ...] = ("retrieval", "text-matching", "code")

ARCHITECTURE = "JinaEmbeddingsV4Model"
"""What the config.json of a checkpoint with adapters names."""

EmbeddingType = Literal["float", "int8", "binary", "ubinary", "base64"]

MultivectorFormat = Literal["float16", "int8", "binary"]
"""The number format in which an index stores multi-vectors."""

Span = tuple[int, int]
"""(start, stop): the tokens `start <= i < stop`, which are pooled to one vector."""


class Both(NamedTuple):
    """Dense vectors and multi-vectors of the same inputs, computed together."""

    dense: Any
    multivector: Any


Vectors: TypeAlias = Any
"""What an engine returns for one input: a `FloatArray`, or a `Both` of them. Its `Prepared` says which."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """An image that is ready to be resized and cut into patches, the same for every engine.

    pixels: uint8 (height, width, 3); already resized, unless the engine resizes images.
    grid: (frames, rows, columns) of the resized image in patches, before merging; frames is 1.
    offset: index of the first image-pad token in the prompt.
    num_tokens: image-pad tokens, one for each merged patch.
    digest: content hash of pixels and grid; equal images have equal digests.
    """

    pixels: NDArray[np.uint8]
    grid: tuple[int, int, int]
    offset: int
    num_tokens: int
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One input of an engine.

    token_ids: int32 (num_tokens,), the whole prompt.
    task: the task whose adapter is applied.
    spans: the token ranges that are pooled to one dense vector each; empty if no dense vector is wanted.
    multivector: whether to return the projected vector of every token, beside dense vectors if there are spans.
    pooling: a built-in pooling or the import path of a function, see `vectors.pooling`.
    cut: whether the text was truncated.
    """

    token_ids: NDArray[np.int32]
    task: Task
    spans: tuple[Span, ...]
    multivector: bool = False
    pooling: str = "mean"
    image: PreparedImage | None = None
    cut: bool = False

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts over the good inputs of a call.

    num_tokens: tokens of all prompts, image tokens included.
    num_image_tokens: image-pad tokens among them.
    num_cut: texts that were truncated.
    """

    num_tokens: int = 0
    num_image_tokens: int = 0
    num_cut: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.num_tokens + other.num_tokens,
            self.num_image_tokens + other.num_image_tokens,
            self.num_cut + other.num_cut,
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input that `on_error="skip"` left out: its index in the call, and its error."""

    index: int
    error: Exception


class Partial(NamedTuple):
    """The result of a call with `on_error="skip"`.

    embeddings: the embeddings of the good inputs, in their order.
    kept: the index in the call of each embedding.
    skipped: the other inputs, with their errors.
    """

    embeddings: Any
    kept: list[int]
    skipped: list[Skipped]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The properties of a loaded model, as its checkpoint gives them.

    multivector_dim: None if the model has no multi-vectors.
    matryoshka_dims: the sizes that dense vectors may be truncated to.
    max_length: the tokens at which texts are truncated.
    cautions: warnings of the checkpoint about its own limits: a sentence by kind of input, such as `image`.
    truncate_dim: the size of a dense vector where a call gives none; None for the whole vector.
    """

    name: str
    revision: str | None
    hidden_size: int
    multivector_dim: int | None
    matryoshka_dims: tuple[int, ...]
    tasks: tuple[Task, ...]
    max_length: int
    cautions: dict[str, str] = field(default_factory=dict, compare=False)
    truncate_dim: int | None = None

    @property
    def dimension(self) -> int:
        """Numbers of a dense vector of a call that names no `truncate_dim`."""
        return self.truncate_dim or self.hidden_size
