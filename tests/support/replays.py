"""`graphs.Record` without a device: a replay runs the function again and copies its results to the same tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jina_embeddings.plugin.packed.graphs import States


def run_again(run: Callable[[], States]) -> tuple[Callable[[], None], States]:
    states = run()

    def replay() -> None:
        for recorded, new in zip(states, run(), strict=True):
            recorded.copy_(new)

    return replay, states
