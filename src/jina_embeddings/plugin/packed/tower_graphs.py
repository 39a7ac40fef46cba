"""The vision tower on one image as a CUDA graph, for sizes that come often, such as the pages of documents.

Launching the tower's kernels takes the host four times as long as they run. Images of one size have the same windows
and positions, so one graph serves them all.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..kernels.checked import relative_error

logger = logging.getLogger(__name__)

Grid = tuple[int, int, int]
"""The size of an image in patches: frames, rows, columns."""
Run = Callable[[torch.Tensor], torch.Tensor]
"""Computes features (num_tokens, hidden) of patches (num_patches, patch_dim) of one image."""
Record = Callable[[Callable[[], torch.Tensor]], "tuple[Callable[[], None], torch.Tensor]"]
"""Captures a function; returns a function that replays it, and the tensor that contains the result of each replay."""

# A size is recorded when it comes for this time: recording takes a tenth of a second, in which other packs wait.
_TIMES_BEFORE = 4
# A replay must not differ from launched kernels by more than this, relative to a token's features.
_MAX_RELATIVE_ERROR = 0.01
# The most sizes that are recorded, and that are counted.
_MAX_GRAPHS, _MAX_COUNTED = 8, 1000


@dataclass(frozen=True, slots=True)
class _Recorded:
    """patches: the memory that the graph reads; features: the memory that it writes.

    run: kept, since the graph also reads the tensors that it refers to.
    """

    patches: torch.Tensor
    features: torch.Tensor
    replay: Callable[[], None]
    run: Run


class TowerGraphs:
    """Graphs by the size of the image."""

    def __init__(self, record: Record):
        self._record = record
        self._counts: Counter[Grid] = Counter()
        self._graphs: dict[Grid, _Recorded] = {}
        self._max_graphs = _MAX_GRAPHS

    def features(self, run: Run, patches: torch.Tensor, grid: Grid) -> torch.Tensor:
        """`run(patches)`, replayed if the image's size has come often enough."""
        recorded = self._graphs.get(grid) or self._recorded(run, patches, grid)
        if recorded is None:
            return run(patches)
        recorded.patches.copy_(patches)
        recorded.replay()
        # The next replay overwrites them.
        return recorded.features.clone()

    def _recorded(self, run: Run, patches: torch.Tensor, grid: Grid) -> _Recorded | None:
        if len(self._graphs) >= self._max_graphs or len(self._counts) >= _MAX_COUNTED:
            return None
        self._counts[grid] += 1
        if self._counts[grid] < _TIMES_BEFORE:
            return None
        try:
            self._graphs[grid] = self._checked(run, patches)
        except Exception as error:
            logger.warning("no more graphs of images: %s: %s", type(error).__name__, error)
            self._max_graphs = 0
        return self._graphs.get(grid)

    def _checked(self, run: Run, patches: torch.Tensor) -> _Recorded:
        """Records a graph of other patches, and compares its replay with launched kernels."""
        own = torch.zeros_like(patches)
        replay, features = self._record(lambda: run(own))
        own.copy_(patches)
        replay()
        error = relative_error(features, run(patches))
        if not error < _MAX_RELATIVE_ERROR:
            raise RuntimeError(f"a replay differs from launched kernels by {error:.1e}")
        return _Recorded(own, features, replay, run)
