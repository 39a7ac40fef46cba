"""Packs: several prompts concatenated to one batch, serialised by the engine and run by the vLLM worker."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..inputs.patches import ImageConfig
from ..types import Both, Prepared, Vectors
from ..vectors.similarity import normalize

if TYPE_CHECKING:
    from numpy.typing import NDArray

OpenMemory = Callable[[Sequence[Any]], "NDArray[np.uint8]"]
"""Opens shared memory by its reference."""

# How many of its first tokens a prompt is sorted by.
_SORT_KEY_TOKENS = 512
# Small packs share prefixes only above this number of tokens of whole prompts. Below it, gathering the shared keys and
# values in every layer costs more than computing the prefix again.
MIN_SHARING_TOKENS = 512
# Most tokens of whole prompts in a pack, as a multiple of its tokens: a shared prefix is computed once, but its keys
# and values are repeated for each prompt.
_WHOLE_RATIO = 1.5
# A graph has room for one prompt for each this many tokens.
_TOKENS_PER_PROMPT = 4
# FlashAttention sorts up to 992 prompts by length in one kernel, and is slower with more.
_MAX_PROMPTS = 768


@dataclass(frozen=True, slots=True)
class Room:
    """What a pack may have at most: computed tokens, prompts, and tokens of whole prompts.

    whole: larger than `tokens` only if prompts may share prefixes.
    """

    tokens: int
    prompts: int
    whole: int

    @classmethod
    def of_pack(cls, tokens: int) -> Self:
        """Of a pack of so many tokens that is launched kernel by kernel."""
        return cls(tokens, tokens, int(_WHOLE_RATIO * tokens))

    @classmethod
    def of_graph(cls, tokens: int) -> Self:
        """Of a CUDA graph of so many tokens."""
        prompts = min(max(8, tokens // _TOKENS_PER_PROMPT), _MAX_PROMPTS)
        return cls(tokens, prompts, int(_WHOLE_RATIO * tokens) if tokens > MIN_SHARING_TOKENS else tokens)


@dataclass(frozen=True, slots=True)
class PackedImage:
    """One image of a pack.

    start: index of its first image-pad token among the computed tokens of the pack.
    num_tokens, grid, digest: as in `types.PreparedImage`.
    pixels: uint8 (height, width, 3); the worker resizes them to the size that `grid` stands for.
    """

    start: int
    num_tokens: int
    grid: tuple[int, int, int]
    digest: str
    pixels: NDArray[np.uint8]
    config: ImageConfig


@dataclass(frozen=True, slots=True)
class Pack:
    """Prompts of one task and one kind of result, in the order of `by_prefix`.

    Attention is causal and the positions of every prompt start at 0, so a prefix that neighbouring prompts share, such
    as `Passage:` or a licence, is computed once, as part of the first of them.

    token_ids: int32 (num_tokens,): the tokens that are computed, which are all but those of shared prefixes.
    lengths: int32 (num_prompts,): tokens of whole prompts.
    shared: int32 (num_prompts,): how many of its first tokens each prompt shares with the one before it.
    spans: int32 (num_spans, 2): start and stop of each pooled span, as indices into the concatenated whole prompts;
        empty if only multi-vectors are wanted.
    half: the worker sends multi-vectors as float16.
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

    @property
    def spans_are_prompts(self) -> bool:
        """Whether there is one span for each prompt, which is the whole prompt."""
        stops = np.cumsum(self.lengths)
        return len(self.spans) == len(stops) and bool(
            (self.spans[:, 1] == stops).all() and (self.spans[:, 0] == stops - self.lengths).all()
        )

    def to_wire(self, memory: NDArray[np.uint8] | None = None, reference: Sequence[Any] | None = None) -> list[Any]:
        """Serialises to plain values and bytes, as vLLM's calls between processes can't carry arrays.

        memory: shared memory to write the pixels to, instead of into the result; reference: by which workers find it.
        """
        images, offset = [], 0
        for image in self.images:
            pixels = image.pixels
            data: bytes | int = offset
            if memory is None:
                data = pixels.tobytes()
            else:
                # numpy releases the GIL while it copies.
                memory[offset : offset + pixels.nbytes].reshape(pixels.shape)[...] = pixels
                offset += pixels.nbytes
            images.append([image.start, image.num_tokens, list(image.grid), image.digest, *pixels.shape[:2], data])
        config = list(astuple(self.images[0].config)) if self.images else None
        arrays = [array.tobytes() for array in (self.token_ids, self.lengths, self.shared, self.spans)]
        return [*arrays, self.task, self.multivector, self.pooling, self.half, images, config, reference]

    @classmethod
    def from_wire(cls, wire: Sequence[Any], open_memory: OpenMemory | None = None) -> Pack:
        """The pack, whose pixels are those of the message or of shared memory, and not copied."""
        ids, lengths, shared, spans, task, multivector, pooling, half, image_fields, config_fields, reference = wire
        images: tuple[PackedImage, ...] = ()
        if image_fields:
            values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in config_fields]
            config = ImageConfig(*values)
            memory = None if reference is None or open_memory is None else open_memory(reference)
            images = tuple(_image_from_wire(fields, config, memory) for fields in image_fields)
        return cls(
            # Copied, as torch warns about arrays that are not writable.
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


def _image_from_wire(fields: Sequence[Any], config: ImageConfig, memory: NDArray[np.uint8] | None) -> PackedImage:
    start, num_tokens, grid, digest, height, width, data = fields
    num_bytes = height * width * 3
    values = np.frombuffer(data, dtype=np.uint8) if memory is None else memory[data : data + num_bytes]
    return PackedImage(start, num_tokens, tuple(grid), digest, values.reshape(height, width, 3), config)


def make_pack(
    inputs: Sequence[Prepared], image_config: ImageConfig, *, half: bool, small: bool = False, for_graph: bool = False
) -> Pack:
    """One pack of these inputs, in their order.

    half: see `Pack`.
    small: whether prefixes are shared only in a pack of more than `MIN_SHARING_TOKENS` tokens.
    for_graph: whether so much of prefixes is computed again that whole prompts have at most the tokens that a graph
        of the computed ones has room for.
    """
    first = inputs[0]
    lengths = np.array([prepared.num_tokens for prepared in inputs], dtype=np.int32)
    shared = np.zeros_like(lengths)
    if not small or lengths.sum() > MIN_SHARING_TOKENS:
        before = itertools.chain([None], inputs)
        shared[:] = [shared_prefix(*pair) for pair in zip(before, inputs, strict=False)]
    if for_graph:
        whole = int(lengths.sum())
        most = whole - math.ceil(whole / _WHOLE_RATIO)
        shared = np.diff(np.minimum(np.cumsum(shared), most), prepend=0).astype(np.int32)
    starts, rows = starts_of(lengths), starts_of(lengths - shared)
    counts = [len(prepared.spans) for prepared in inputs]
    spans = np.array([span for prepared in inputs for span in prepared.spans], dtype=np.int32).reshape(-1, 2)
    shifted = (spans + np.repeat(starts, counts)[:, None]).astype(np.int32)
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
    """The offset of each of several concatenated sequences with these lengths."""
    return np.cumsum(lengths) - lengths


def by_prefix(prepared: Prepared) -> tuple[int, bytes]:
    """Sort key: the power of two above the prompt's length, longest first, and then its first tokens.

    Prompts with a common prefix become neighbours. Long prompts come first, so that short ones fill the space that
    they leave in packs.
    """
    return -prepared.num_tokens.bit_length(), prepared.token_ids[:_SORT_KEY_TOKENS].tobytes()


def shared_prefix(before: Prepared | None, prepared: Prepared) -> int:
    """The length of the prefix that a prompt shares with the one before it; less than the whole prompt.

    0 if their lengths differ in the power of two above them, so that they weren't sorted together. 0 for prompts with
    an image too: equal image-pad tokens don't mean equal images.
    """
    if before is None or before.num_tokens.bit_length() != prepared.num_tokens.bit_length():
        return 0
    if before.image is not None or prepared.image is not None:
        return 0
    most = min(before.num_tokens, prepared.num_tokens - 1)
    differing = np.flatnonzero(before.token_ids[:most] != prepared.token_ids[:most])
    return int(differing[0]) if len(differing) else most


def split_vectors(
    data: bytes, inputs: Sequence[Prepared], *, hidden_size: int, multivector_dim: int, half: bool
) -> list[Vectors]:
    """Splits the bytes that the worker sent into the float32 vectors of each input: all dense ones, then all tokens'.

    half: multi-vectors are float16. Rounding has changed their norms by up to 1e-3, so they are normalised again.
    """
    num_spans = [len(prepared.spans) for prepared in inputs]
    end = 4 * hidden_size * sum(num_spans)
    # An array over bytes is read-only, which doesn't matter here: pooled vectors are copied later.
    dense = np.frombuffer(data[:end], dtype=np.float32).reshape(-1, hidden_size)
    pooled = np.split(dense, np.cumsum(num_spans)[:-1])
    if not inputs[0].multivector:
        return list(pooled)
    sent: Any = np.frombuffer(data[end:], dtype=np.float16 if half else np.float32).reshape(-1, multivector_dim)
    rows = normalize(sent.astype(np.float32)) if half else sent.copy()
    tokens = np.split(rows, np.cumsum([prepared.num_tokens for prepared in inputs])[:-1])
    return [Both(*pair) for pair in zip(pooled, tokens, strict=True)] if end else list(tokens)
