"""Which inputs of a call run as packs, and which go through vLLM's scheduler."""

from __future__ import annotations

from collections.abc import Sequence

from ...options import Options
from ...types import Prepared


def possible_path(options: Options) -> str:
    """The path of the options; `scheduled` with pipeline parallelism, as a pack runs all layers in one worker."""
    return options.path if options.pipeline_parallel_size == 1 else "scheduled"


def packed_and_scheduled(
    batch: Sequence[Prepared], path: str, call_size: int, *, min_inputs: int, pack_tokens: int
) -> tuple[list[int], list[int]]:
    """Returns the indices of the inputs that are packed, and of those that are scheduled.

    path: `packed`, `scheduled`, or `auto`, which packs calls of at least `min_inputs` inputs.
    call_size: the inputs of the whole call, of which the batch may be a part.
    pack_tokens: the most tokens of a pack; longer inputs are always scheduled.
    """
    packs = path == "packed" or (path == "auto" and call_size >= min_inputs)
    packed: list[int] = []
    scheduled: list[int] = []
    for index, prepared in enumerate(batch):
        (packed if packs and prepared.num_tokens <= pack_tokens else scheduled).append(index)
    return packed, scheduled
