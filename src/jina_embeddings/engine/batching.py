"""Which inputs run together in one padded forward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ..types import Prepared


def plan_batches(inputs: Sequence[Prepared], *, max_tokens: int, batch_size: int | None = None) -> Iterator[list[int]]:
    """Indices of `inputs` in batches of one task and one kind of result, longest first.

    A batch times its longest input stays within `max_tokens` (an input that is longer runs alone), and
    holds at most `batch_size` inputs. Neighbours in length run together, so little is padding.
    """
    groups: dict[tuple[str, bool, str], list[int]] = defaultdict(list)
    for index, prepared in enumerate(inputs):
        groups[prepared.task, prepared.multivector, prepared.pooling].append(index)
    for indices in groups.values():
        indices.sort(key=lambda index: inputs[index].num_tokens, reverse=True)
        batch: list[int] = []
        for index in indices:
            width = inputs[batch[0]].num_tokens if batch else 0
            if batch and ((len(batch) + 1) * width > max_tokens or len(batch) == batch_size):
                yield batch
                batch = []
            batch.append(index)
        yield batch
