"""Packs: prompts end to end, sent as bytes, run by the vLLM worker."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..inputs.patches import ImageConfig
from ..types import Prepared
from ..vectors.similarity import normalize

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Tokens of a prompt by which it is sorted.
_SORTED_TOKENS = 512
# Tokens of whole prompts up to which a small pack runs what they begin with for each: to find it again in every layer
# would cost more than it spares.
SHARES_FROM = 512


@dataclass(frozen=True, slots=True)
class PackedImage:
    """One image of a pack.

    start: index among the tokens that run of its first image-pad token.
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
    """Prompts of one task and one kind of result, in the order of `by_beginning`.

    Attention is causal and every prompt counts from 0, so what two of them begin with, such as `Passage:` or a licence,
    is run once, as part of the first.

    token_ids: int32 (num_tokens,), of every prompt what follows its shared beginning.
    lengths: int32 (num_prompts,), of whole prompts.
    shared: int32 (num_prompts,), how many tokens each begins with as the one before it.
    spans: int32 (num_spans, 2), start and stop among whole prompts end to end; empty for multi-vectors.
    half: vectors travel as float16.
    """

    token_ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    shared: NDArray[np.int32]
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
        arrays = [array.tobytes() for array in (self.token_ids, self.lengths, self.shared, self.spans)]
        return [*arrays, self.task, self.multivector, self.pooling, self.half, images, config]

    @classmethod
    def from_wire(cls, wire: Sequence[Any]) -> Pack:
        ids, lengths, shared, spans, task, multivector, pooling, half, image_fields, config_fields = wire
        images: tuple[PackedImage, ...] = ()
        if image_fields:
            fields: list[Any] = [tuple(value) if isinstance(value, list) else value for value in config_fields]
            config = ImageConfig(*fields)
            images = tuple(_image_from_wire(fields, config) for fields in image_fields)
        return cls(
            # Copied: torch wants memory that it may write to.
            token_ids=np.frombuffer(ids, dtype=np.int32).copy(),
            lengths=np.frombuffer(lengths, dtype=np.int32),
            shared=np.frombuffer(shared, dtype=np.int32),
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


def make_pack(inputs: Sequence[Prepared], image_config: ImageConfig, *, half: bool, small: bool = False) -> Pack:
    """One pack of these inputs, in their order.

    small: what prompts begin with is run for each of them if the pack has no more than `SHARES_FROM` tokens.
    """
    first = inputs[0]
    lengths = np.array([prepared.num_tokens for prepared in inputs], dtype=np.int32)
    shared = np.zeros_like(lengths)
    if not small or lengths.sum() > SHARES_FROM:
        before = itertools.chain([None], inputs)
        shared[:] = [shared_beginning(*pair) for pair in zip(before, inputs, strict=False)]
    starts, rows = starts_of(lengths), starts_of(lengths - shared)
    counts = [0 if first.multivector else len(prepared.spans) for prepared in inputs]
    spans = np.array([span for prepared in inputs for span in prepared.spans], dtype=np.int32).reshape(-1, 2)
    shifted = (spans + np.repeat(starts, counts)[:, None]).astype(np.int32) if not first.multivector else spans[:0]
    images = tuple(
        PackedImage(int(row) + image.offset, image.num_tokens, image.grid, image.digest, image.pixels, image_config)
        for row, image in zip(rows, (prepared.image for prepared in inputs), strict=True)
        if image is not None
    )
    return Pack(
        token_ids=np.concatenate(
            [prepared.token_ids[count:] for prepared, count in zip(inputs, shared.tolist(), strict=True)]
        ),
        lengths=lengths,
        shared=shared,
        spans=shifted,
        task=first.task,
        multivector=first.multivector,
        pooling=first.pooling,
        half=half,
        images=images,
    )


def starts_of(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where each of several rows begins that lie end to end."""
    return np.cumsum(lengths) - lengths


def by_beginning(prepared: Prepared) -> tuple[int, bytes]:
    """Sorts prompts by the power of two above their length, longest first, and then by how they begin.

    Neighbours then have the most in common; large ones come first, so that small ones fill what they leave of packs.
    """
    return -prepared.num_tokens.bit_length(), prepared.token_ids[:_SORTED_TOKENS].tobytes()


def shared_beginning(before: Prepared | None, prepared: Prepared) -> int:
    """How many tokens a prompt begins with as the one before, of about its length; one more at least is its own.

    A picture's has nothing in common with others: its tokens don't say what is seen.
    """
    if before is None or before.num_tokens.bit_length() != prepared.num_tokens.bit_length():
        return 0
    if before.image is not None or prepared.image is not None:
        return 0
    most = min(before.num_tokens, prepared.num_tokens - 1)
    differing = np.flatnonzero(before.token_ids[:most] != prepared.token_ids[:most])
    return int(differing[0]) if len(differing) else most


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
