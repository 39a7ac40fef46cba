"""The positions of image patches, and the groups of them that attend to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grid = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of all images of a batch; the patches of a token follow each other.

    places: (patches, 2), row and column of each patch in its image.
    images, windows: the indices of patches that attend to each other, in a whole frame and in a window: one array
        (groups, patches of a group) for each size of group.
    """

    places: NDArray[np.int64]
    images: tuple[NDArray[np.int64], ...]
    windows: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, grids: Sequence[Grid], merge: int, window: int) -> Layout:
        """The layout of images.

        grids: (frames, rows, columns) of each image, in patches.
        merge, window: the side of a token and of a window, in patches.
        """
        places, frames, windows, first = [], [], [], 0
        for count, rows, columns in grids:
            place = _places(rows, columns, merge)
            at = place // (window // merge * merge)
            of_window = at[:, 0] * columns + at[:, 1]
            for _ in range(count):
                patches = np.arange(len(place)) + first
                places.append(place)
                frames.append(patches)
                order = of_window.argsort(kind="stable")
                edges = np.flatnonzero(np.diff(of_window[order])) + 1
                windows += np.split(patches[order], edges)
                first += len(place)
        return cls(np.concatenate(places), _by_size(frames), _by_size(windows))


def _places(rows: int, columns: int, merge: int) -> NDArray[np.int64]:
    """Row and column of each patch, (patches, 2), ordered by token."""
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1)
    tokens = grid.reshape(rows // merge, merge, columns // merge, merge, 2).swapaxes(1, 2)
    return tokens.reshape(-1, 2)


def _by_size(groups: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], ...]:
    sizes = sorted({len(group) for group in groups})
    return tuple(np.stack([group for group in groups if len(group) == size]) for size in sizes)
