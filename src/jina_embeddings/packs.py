"""Packs: prompts end to end, sent as bytes, run by the vLLM worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .images import ImageConfig
from .similarity import normalize
from .types import Prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PackedImage:
    """One image of a pack.

    start: index in the pack of its first image-pad token.
    pixels: uint8 (height, width, 3); the worker resizes them to what `grid` says.
    """

    start: int
    num_tokens: int
    grid: tuple[int, int, int]
    digest: str
    pixels: NDArray[np.uint8]
    config: ImageConfig


@dataclass(frozen=True, slots=True)
class Pack:
    """Prompts of one task and one kind of result, longest first.

    Attention is causal and every prompt counts from 0, so a beginning that all of them have, such as `Passage:`, is
    run once, as part of the first.

    token_ids: int32 (num_tokens,), all of the first prompt and of the others what follows their common beginning.
    lengths: int32 (num_prompts,), of whole prompts.
    shared: tokens of the common beginning.
    spans: int32 (num_spans, 2), start and stop among whole prompts end to end; empty for multi-vectors.
    half: vectors travel as float16.
    """

    token_ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    shared: int
    spans: NDArray[np.int32]
    task: str
    multivector: bool
    pooling: str
    half: bool
    images: tuple[PackedImage, ...]

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    def to_wire(self) -> list[Any]:
        """Plain values and bytes, since vLLM's calls between processes carry no arrays."""
        images = [
            [
                image.start,
                image.num_tokens,
                list(image.grid),
                image.digest,
                *image.pixels.shape[:2],
                image.pixels.tobytes(),
            ]
            for image in self.images
        ]
        config = list(astuple(self.images[0].config)) if self.images else None
        arrays = [self.token_ids.tobytes(), self.lengths.tobytes(), self.spans.tobytes()]
        return [*arrays, self.shared, self.task, self.multivector, self.pooling, self.half, images, config]

    @classmethod
    def from_wire(cls, wire: Sequence[Any]) -> Pack:
        ids, lengths, spans, shared, task, multivector, pooling, half, image_fields, config_fields = wire
        images: tuple[PackedImage, ...] = ()
        if image_fields:
            fields: list[Any] = [tuple(value) if isinstance(value, list) else value for value in config_fields]
            config = ImageConfig(*fields)
            images = tuple(_image_from_wire(fields, config) for fields in image_fields)
        return cls(
            # Copied: torch wants memory that it may write to.
            token_ids=np.frombuffer(ids, dtype=np.int32).copy(),
            lengths=np.frombuffer(lengths, dtype=np.int32),
            shared=shared,
            spans=np.frombuffer(spans, dtype=np.int32).reshape(-1, 2),
            task=task,
            multivector=multivector,
            pooling=pooling,
            half=half,
            images=images,
        )


def _image_from_wire(fields: Sequence[Any], config: ImageConfig) -> PackedImage:
    start, num_tokens, grid, digest, height, width, data = fields
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)
    return PackedImage(start, num_tokens, tuple(grid), digest, pixels, config)


def make_pack(inputs: Sequence[Prepared], image_config: ImageConfig, *, half: bool) -> Pack:
    """One pack of these inputs, in their order."""
    first = inputs[0]
    shared = common_beginning(inputs)
    lengths = np.array([prepared.num_tokens for prepared in inputs], dtype=np.int32)
    starts = np.cumsum(lengths) - lengths
    counts = [0 if first.multivector else len(prepared.spans) for prepared in inputs]
    spans = np.array([span for prepared in inputs for span in prepared.spans], dtype=np.int32).reshape(-1, 2)
    shifted = (spans + np.repeat(starts, counts)[:, None]).astype(np.int32) if not first.multivector else spans[:0]
    images = tuple(
        PackedImage(int(start) + image.offset, image.num_tokens, image.grid, image.digest, image.pixels, image_config)
        for start, image in zip(starts, (prepared.image for prepared in inputs), strict=True)
        if image is not None
    )
    return Pack(
        token_ids=np.concatenate([first.token_ids, *(prepared.token_ids[shared:] for prepared in inputs[1:])]),
        lengths=lengths,
        shared=shared,
        spans=shifted,
        task=first.task,
        multivector=first.multivector,
        pooling=first.pooling,
        half=half,
        images=images,
    )


def common_beginning(inputs: Iterable[Prepared]) -> int:
    """Tokens that several prompts begin with; each has one more at least, and a picture's has nothing in common."""
    first, *others = inputs
    shared = most_shared(first) if others else 0
    for prepared in others:
        shared = still_shared(shared, first, prepared)
    return shared


def most_shared(prepared: Prepared) -> int:
    """Tokens of a prompt that others may begin with too."""
    return 0 if prepared.image is not None else prepared.num_tokens - 1


def still_shared(shared: int, first: Prepared, other: Prepared) -> int:
    """How many of the first prompt's `shared` tokens another one begins with."""
    shared = min(shared, most_shared(other))
    differs = first.token_ids[:shared] != other.token_ids[:shared]
    return int(differs.argmax()) if differs.any() else shared


def split_vectors(data: bytes, inputs: Sequence[Prepared], width: int, *, half: bool) -> list[NDArray[np.float32]]:
    """The float32 vectors of each input from what the worker sent.

    half: they are float16 multi-vectors; rounding has changed their norms by up to 1e-3, which is mended.
    """
    sent: Any = np.frombuffer(data, dtype=np.float16 if half else np.float32).reshape(-1, width)
    vectors: Any = normalize(sent.astype(np.float32)) if half else sent
    if inputs[0].multivector and not half:
        # They go to the user as they are, who may want to change them; pooled ones are copied anyway.
        vectors = vectors.copy()
    rows = [prepared.num_tokens if prepared.multivector else len(prepared.spans) for prepared in inputs]
    return np.split(vectors, np.cumsum(rows)[:-1])
