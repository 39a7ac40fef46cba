"""The language model on small packs as CUDA graphs: captured for a few sizes and each task's weights, one launch each.

A pack of a few hundred tokens takes the device a few milliseconds, and the host ten times as long to launch kernel by
kernel. A graph reads and writes the same memory at each replay, so a pack's embeddings and layout are copied into
buffers of the next larger size. Its padding is one more prompt, whose states nobody reads, so that attention writes
every row: otherwise products would read uninitialised memory, which may be NaN. Missing prompts are empty.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch

from ..packs import Pack, Room, starts_of
from .layout import PackMetadata, bounds_of, kept_tokens, pack_positions, sources
from .transfer import Staging

if TYPE_CHECKING:
    from numpy.typing import NDArray

Run = Callable[[torch.Tensor, torch.Tensor, PackMetadata], torch.Tensor]
"""Computes hidden states (tokens, hidden) from embeddings (overwritten), positions (3, tokens), and a pack's layout."""


class States(NamedTuple):
    """The last hidden states of whole prompts (tokens, hidden), and their float32 means (prompts, hidden)."""

    hidden: torch.Tensor
    means: torch.Tensor


T = TypeVar("T")
Record = Callable[[Callable[[], States]], "tuple[Callable[[], None], States]"]
"""Captures a function; returns a function that replays it, and the tensors that contain the result of each replay."""

# Tokens of each graph. Padding is computed too, so steps are small where most packs are. Products have tiles of 128
# tokens, and of 64 for the smallest size; on an H200, 32 tokens would take longer than 64.
_SIZES = (64, 128, 256, 384, 512, 640, 768, 896, 1024, *range(1280, 4097, 256))
# Tokens between sizes above the largest of these.
_SIZE_STEP = 1024
# The largest graph with attention in a kernel of our own, which is faster than FlashAttention up to there.
_MAX_CAUSAL_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Shape(Room):
    """The size of a graph: what a pack that it runs may have at most."""

    @property
    def shares(self) -> bool:
        return self.whole > self.tokens

    @property
    def num_integers(self) -> int:
        """The number of integers of a pack: those of `parts`."""
        return 6 * self.tokens + 2 * (self.prompts + 2) + (self.whole if self.shares else 0)

    def holds(self, pack: Pack) -> bool:
        return (
            pack.num_tokens <= self.tokens
            and len(pack.lengths) <= self.prompts
            # Padding takes room among whole prompts too.
            and int(pack.shared.sum()) <= self.whole - self.tokens
        )

    def lay_out(self, pack: Pack, merge_size: int, integers: NDArray[np.int32]) -> None:
        """Writes the integers of a pack, (num_integers,). merge_size: as of `pack_positions`."""
        ids, positions, reach, cu_rows, cu_seqlens, source = self.parts(integers)
        num_left = self.tokens - pack.num_tokens
        positions[:], ids[:] = 0, 0
        ids[: pack.num_tokens] = pack.token_ids
        positions.reshape(3, -1)[:, : pack.num_tokens] = pack_positions(pack, merge_size)
        kept, whole = kept_tokens(pack.lengths, pack.shared), int(pack.lengths.sum())
        first, last = reach.reshape(2, -1)
        first[: pack.num_tokens], last[: pack.num_tokens] = np.repeat(starts_of(pack.lengths), pack.lengths)[kept], kept
        first[pack.num_tokens :], last[pack.num_tokens :] = whole, whole + np.arange(num_left)
        for bounds, lengths in ((cu_rows, pack.lengths - pack.shared), (cu_seqlens, pack.lengths)):
            known = bounds_of(lengths)
            bounds[: len(known)] = known
            # The prompt of padding, and empty prompts behind it.
            bounds[len(known) :] = known[-1] + num_left
        if self.shares:
            found = sources(pack.lengths, pack.shared)
            source[: len(found)] = found
            source[len(found) : len(found) + num_left] = np.arange(pack.num_tokens, self.tokens)
            source[len(found) + num_left :] = 0

    def parts(self, integers: Any) -> Sequence[Any]:
        """Views into the integers: token ids, three rows of positions, and `PackMetadata`.

        Of that: two rows of reach, cu_rows, cu_seqlens, and source.
        """
        sizes = (self.tokens, 3 * self.tokens, 2 * self.tokens, self.prompts + 2, self.prompts + 2)
        stops = np.cumsum(sizes).tolist()
        starts = [0, *stops]
        views = [integers[start:stop] for start, stop in zip(starts, stops, strict=False)]
        return [*views, integers[stops[-1] : self.num_integers]]


def shapes_up_to(tokens: int) -> list[Shape]:
    """The sizes of the graphs for packs of at most that many tokens, smallest first; none for 0."""
    if not tokens:
        return []
    sizes = [*_SIZES, *range(_SIZES[-1] + _SIZE_STEP, tokens, _SIZE_STEP)]
    return [Shape.of_graph(size) for size in sorted({size for size in sizes if size < tokens} | {tokens})]


class PackGraphs:
    """The graphs of a model, by weights and size.

    run: the language model.
    embed: returns the embeddings (tokens, hidden) of token ids, int32 (tokens,).
    merge_size: as of `pack_positions`.
    """

    def __init__(
        self,
        run: Run,
        embed: Callable[[torch.Tensor], torch.Tensor],
        *,
        merge_size: int,
        device: torch.device,
        shapes: Sequence[Shape],
        record: Record,
    ):
        self._run = run
        self._embed = embed
        self._merge_size = merge_size
        self._record = record
        self._shapes = list(shapes)
        self._graphs: dict[tuple[Hashable, Shape], tuple[Callable[[], None], States]] = {}
        # All graphs read these buffers. They run on one stream, so never at the same time.
        num_integers = max(shape.num_integers for shape in shapes)
        self.integers = torch.zeros(num_integers, dtype=torch.int32, device=device)
        self.embeds = embed(self.integers[: max(shape.tokens for shape in shapes)])
        self._staging = Staging(num_integers, device)

    def record(self, weights: Hashable, has_room: Callable[[Shape], bool] = lambda shape: True) -> int:
        """Captures the graphs of the weights that the model has now; returns the tokens of the largest one.

        weights: the key of these weights for `run`.
        has_room: whether there is memory for a graph of this size; otherwise it is left out.
        """
        largest = 0
        # The largest first, since its memory for intermediate results is reused by all others.
        for shape in reversed(self._shapes):
            if has_room(shape):
                full = np.array([shape.tokens], np.int32)
                self._fill(shape, _blank(full), ())
                self._graphs[weights, shape] = self._record(lambda shape=shape: self._forward(shape))  # type: ignore[misc]
                largest = max(largest, shape.tokens)
        return largest

    @property
    def num_graphs(self) -> int:
        return len(self._graphs)

    def has(self, weights: Hashable, pack: Pack) -> bool:
        """Whether there is a graph that is large enough for the pack."""
        return self._shape_for(weights, pack) is not None

    def _shape_for(self, weights: Hashable, pack: Pack) -> Shape | None:
        return next((s for s in self._shapes if s.holds(pack) and (weights, s) in self._graphs), None)

    def run(self, weights: Hashable, pack: Pack, features: Sequence[torch.Tensor] = ()) -> States | None:
        """Replays a graph for a pack, and returns its states; None if no graph is large enough.

        features: of the pack's images, (num_tokens, hidden) each.

        The tensors are the graph's memory, valid until the next call.
        """
        shape = self._shape_for(weights, pack)
        if shape is None:
            return None
        self._fill(shape, pack, features)
        replay, states = self._graphs[weights, shape]
        replay()
        return States(states.hidden[: int(pack.lengths.sum())], states.means[: len(pack.lengths)])

    def _fill(self, shape: Shape, pack: Pack, features: Sequence[torch.Tensor]) -> None:
        with self._staging.next() as staged:
            shape.lay_out(pack, self._merge_size, staged.numpy())
            self.integers[: shape.num_integers].copy_(staged[: shape.num_integers], non_blocking=True)
        # The model overwrites embeddings, so those of the padding are written again too.
        self.embeds[: shape.tokens] = self._embed(self.integers[: shape.tokens])
        for image, rows in zip(pack.images, features, strict=True):
            self.embeds[image.start : image.start + image.num_tokens] = rows

    def _forward(self, shape: Shape) -> States:
        _, positions, reach, cu_rows, cu_seqlens, source = shape.parts(self.integers)
        layout = PackMetadata(
            cu_rows,
            cu_seqlens,
            shape.tokens,
            shape.whole,
            source if shape.shares else None,
            (reach[: shape.tokens], reach[shape.tokens :]) if shape.tokens <= _MAX_CAUSAL_TOKENS else None,
            alike=None,
        )
        hidden = layout.whole(self._run(self.embeds[: shape.tokens], positions.view(3, -1), layout))
        # Means of empty prompts are NaN and never read. unsafe=True: checking lengths would wait for the device.
        means = torch.segment_reduce(hidden.float(), "mean", lengths=cu_seqlens.diff(), unsafe=True)
        return States(hidden, means)


def _blank(lengths: NDArray[np.int32]) -> Pack:
    """A pack of prompts with these lengths and token id 0."""
    return Pack(
        token_ids=np.zeros(int(lengths.sum()), np.int32),
        lengths=lengths,
        shared=np.zeros_like(lengths),
        spans=np.zeros((0, 2), np.int32),
        task="",
        multivector=False,
        pooling="mean",
        half=False,
        images=(),
    )


class CudaRecorder:
    """Captures CUDA graphs that share memory for intermediate results, so they must not run at the same time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], T]) -> tuple[Callable[[], None], T]:
        # The first run compiles and selects kernels, which isn't possible during capture.
        run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread_local, as other threads of the worker may use the device during capture.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = run()
        return graph.replay, result
