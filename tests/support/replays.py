"""`graphs.Record` without a device: a replay runs the function again and copies its result to the same tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


def run_again(run: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
    result = run()

    def replay() -> None:
        result.copy_(run())

    return replay, result
