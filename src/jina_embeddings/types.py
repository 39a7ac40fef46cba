"""What travels between the parts: tasks, prepared inputs and results. Imports nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

Task = Literal["retrieval", "text-matching", "code"]
TASKS: tuple[Task, ...] = ("retrieval", "text-matching", "code")

EmbeddingType = Literal["float", "int8", "binary", "ubinary", "base64"]

MultivectorFormat = Literal["float16", "int8", "binary"]
"""How an index stores the numbers of its multi-vectors."""

Span = tuple[int, int]
"""Tokens `start <= i < stop` that are pooled to one vector."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """An image ready for patchifying, the same for every engine.

    pixels: uint8 (height, width, 3), resized to whole merged patches, or still to be resized to them by the engine.
    grid: (1, height / patch, width / patch) of the resized image, in patches before merging.
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
    """One input as an engine sees it.

    token_ids: int32 (num_tokens,), the whole prompt.
    task: whose adapter runs.
    spans: one dense vector is pooled from each; ignored for multi-vector.
    multivector: every token's projected vector instead of pooled ones.
    pooling: name of a registered pooling function.
    cut: the text had more tokens than were allowed.
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
    """What the good inputs of a call come to.

    num_tokens: of all prompts, image tokens included. num_image_tokens: the image-pad tokens among them.
    num_cut: texts that were cut at `max_length`.
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
    """One input that `on_error="skip"` passed over: its index in the call and why."""

    index: int
    error: Exception


class Partial(NamedTuple):
    """What `on_error="skip"` returns.

    embeddings: of the inputs that were good, in their order.
    kept: their indices in the call, one for each row.
    skipped: the others, each with its error.
    """

    embeddings: Any
    kept: list[int]
    skipped: list[Skipped]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What callers may ask of a loaded model; all read from the checkpoint."""

    name: str
    revision: str | None
    hidden_size: int
    multivector_dim: int | None
    matryoshka_dims: tuple[int, ...]
    tasks: tuple[Task, ...]
    max_length: int
    cautions: dict[str, str] = field(default_factory=dict, compare=False)
