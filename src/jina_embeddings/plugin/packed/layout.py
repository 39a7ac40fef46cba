"""The layout of a pack: prompts concatenated along the token dimension, and prefixes that neighbours share once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...inputs.positions import image_positions
from ..packs import Pack, starts_of
from .transfer import to_device

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PackMetadata:
    """The layout of a pack: its computed tokens, and its whole prompts with shared prefixes repeated.

    cu_rows, cu_seqlens: int32 (num_prompts + 1,) on the device: the cumulative lengths of the prompts without their
        shared prefixes (queries), and of whole prompts (keys and values).
    max_rows, max_seqlen: the largest of these lengths.
    source: (tokens of whole prompts,) integers on the device: the index of the computed token that each token of the
        whole prompts stands for; None if no prefix is shared.
    reach: int32 (computed tokens,) twice, on the device: which of the whole prompts' tokens each token attends to, from
        the first of its prompt to itself; None where FlashAttention runs, which needs cu_rows and cu_seqlens instead.
    alike: on a CPU, one int64 (prompts, length) for each length that occurs: `source` of the prompts of that length;
        None if it has to be derived from cu_seqlens and source.
    """

    cu_rows: torch.Tensor
    cu_seqlens: torch.Tensor
    max_rows: int
    max_seqlen: int
    source: torch.Tensor | None
    reach: tuple[torch.Tensor, torch.Tensor] | None
    alike: tuple[torch.Tensor, ...] | None

    @classmethod
    def of_prompts(cls, lengths: NDArray[np.int32], shared: NDArray[np.int32], device: torch.device) -> PackMetadata:
        """The layout of prompts with these lengths.

        lengths: int32 (num_prompts,), tokens of whole prompts.
        shared: int32 (num_prompts,), how many of its first tokens each prompt shares with the one before.
        """
        rows, bounds = lengths - shared, bounds_of(lengths)
        source = sources(lengths, shared)
        return cls(
            to_device(bounds_of(rows), device),
            to_device(bounds, device),
            int(rows.max()),
            int(lengths.max()),
            to_device(source, device) if shared.any() else None,
            None,
            prompts_by_length(bounds, source) if device.type == "cpu" else None,
        )

    def whole(self, rows: torch.Tensor) -> torch.Tensor:
        """Repeats shared prefixes: (computed tokens, ...) becomes (tokens of whole prompts, ...)."""
        return rows if self.source is None else rows.index_select(0, self.source)


def sources(lengths: NDArray[np.int32], shared: NDArray[np.int32]) -> NDArray[np.int64]:
    """`PackMetadata.source`: the computed token of each token of whole prompts, its own or an earlier prompt's."""
    source = np.empty(int(lengths.sum()), dtype=np.int64)
    kept = kept_tokens(lengths, shared)
    source[kept] = np.arange(len(kept))
    starts = starts_of(lengths).tolist()
    for before, start, count in zip(starts, starts[1:], shared[1:].tolist(), strict=False):
        source[start : start + count] = source[before : before + count]
    return source


def kept_tokens(lengths: NDArray[np.int32], shared: NDArray[np.int32]) -> NDArray[np.int64]:
    """The indices of the tokens that are computed, among those of whole prompts: all but those of shared prefixes."""
    return np.flatnonzero(positions_in_prompts(lengths) >= np.repeat(shared, lengths))


def positions_in_prompts(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """The position of each token within its prompt, (tokens of whole prompts,)."""
    return np.arange(int(lengths.sum())) - np.repeat(starts_of(lengths), lengths)


def prompts_by_length(bounds: NDArray[np.int32], source: NDArray[Any] | None) -> tuple[torch.Tensor, ...]:
    """`PackMetadata.alike` for the boundaries (cu_seqlens) and the source of a pack; empty prompts are left out."""
    lengths, alike = np.diff(bounds), []
    for length in np.unique(lengths[lengths > 0]):
        places = bounds[:-1][lengths == length][:, None] + np.arange(length)
        alike.append(torch.from_numpy(places if source is None else source[places].astype(np.int64)))
    return tuple(alike)


def bounds_of(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """cu_seqlens: 0, then the cumulative sums of the lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def pack_positions(pack: Pack, merge_size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """M-RoPE positions (3, num_tokens) of the computed tokens; each prompt starts at 0."""
    kept = kept_tokens(pack.lengths, pack.shared)
    positions = np.repeat(positions_in_prompts(pack.lengths)[kept][None], 3, axis=0)
    rows = pack.lengths - pack.shared
    starts = starts_of(rows)
    for image in pack.images:
        prompt = int(np.searchsorted(starts, image.start, side="right")) - 1
        start, length = int(starts[prompt]), int(rows[prompt])
        positions[:, start : start + length] = image_positions(
            length, image.start - start, image.num_tokens, image.grid, merge_size
        )
    return positions
