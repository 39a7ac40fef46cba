"""Groups inputs to batches of one kind: one task, one kind of result, one pooling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from ..types import Prepared

Kind: TypeAlias = "tuple[str, bool, bool, str]"
"""Task, whether dense and whether multi-vectors are wanted, and pooling: the same for all inputs of a batch or pack."""


def plan_batches(inputs: Sequence[Prepared], *, max_tokens: int, batch_size: int | None = None) -> Iterator[list[int]]:
    """Plans padded batches, each of one kind, as lists of indices into `inputs`; the longest inputs come first.

    The tokens of a batch, which are its inputs times the longest of them, stay within `max_tokens`; an input that is
    longer is a batch alone. A batch has at most `batch_size` inputs. Inputs are sorted by length, so there is little
    padding.
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
    """Each kind with the indices of its inputs, sorted by the key `order`."""
    if len(inputs) == 1:
        yield kind_of(inputs[0]), [0]
        return
    groups: dict[Kind, list[int]] = defaultdict(list)
    for index, prepared in enumerate(inputs):
        groups[kind_of(prepared)].append(index)
    for kind, indices in groups.items():
        yield kind, sorted(indices, key=lambda index: order(inputs[index]))


def kind_of(prepared: Prepared) -> Kind:
    return prepared.task, bool(prepared.spans), prepared.multivector, prepared.pooling


def _longest_first(prepared: Prepared) -> int:
    return -prepared.num_tokens
