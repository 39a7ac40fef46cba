"""Which inputs run together: in one padded forward, or end to end in one pack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from ..types import Prepared

Kind: TypeAlias = "tuple[str, bool, str]"
"""Task, whether multi-vectors are wanted, and pooling: what runs together has one."""


def plan_batches(inputs: Sequence[Prepared], *, max_tokens: int, batch_size: int | None = None) -> Iterator[list[int]]:
    """Indices of `inputs` in padded batches of one task and one kind of result, longest first.

    A batch times its longest input stays within `max_tokens` (an input that is longer runs alone), and
    holds at most `batch_size` inputs. Neighbours in length run together, so little is padding.
    """
    for _, indices in by_kind(inputs, _longest_first):
        batch: list[int] = []
        for index in indices:
            width = inputs[batch[0]].num_tokens if batch else 0
            if batch and ((len(batch) + 1) * width > max_tokens or len(batch) == batch_size):
                yield batch
                batch = []
            batch.append(index)
        yield batch


def by_kind(inputs: Sequence[Prepared], order: Callable[[Prepared], Any]) -> Iterator[tuple[Kind, list[int]]]:
    """Each kind, with the indices of its inputs in that order."""
    groups: dict[Kind, list[int]] = defaultdict(list)
    for index, prepared in enumerate(inputs):
        groups[kind_of(prepared)].append(index)
    for kind, indices in groups.items():
        yield kind, sorted(indices, key=lambda index: order(inputs[index]))


def kind_of(prepared: Prepared) -> Kind:
    return prepared.task, prepared.multivector, prepared.pooling


def _longest_first(prepared: Prepared) -> int:
    return -prepared.num_tokens
