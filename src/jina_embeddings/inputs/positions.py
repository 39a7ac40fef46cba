"""M-RoPE positions of a prompt's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..types import Prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tokens = NDArray[np.int32]


def positions(prepared: Prepared, merge_size: int) -> NDArray[np.int64]:
    """M-RoPE positions (3, num_tokens): time, height, width.

    All three count up by one over text. An image's tokens have the row and column of each token, and text after the
    image continues from the largest of these (Qwen2-VL, Wang et al. 2024, section 2.1).
    """
    image, num_tokens = prepared.image, prepared.num_tokens
    if image is None:
        return np.broadcast_to(np.arange(num_tokens), (3, num_tokens))
    return image_positions(num_tokens, image.offset, image.num_tokens, image.grid, merge_size)


def image_positions(
    num_tokens: int, offset: int, num_image_tokens: int, grid: tuple[int, int, int], merge_size: int
) -> NDArray[np.int64]:
    """`positions` of a prompt whose image-pad tokens begin at `offset`."""
    before = np.broadcast_to(np.arange(offset), (3, offset))
    frames, height, width = grid[0], grid[1] // merge_size, grid[2] // merge_size
    inside = np.indices((frames, height, width)).reshape(3, -1) + offset
    rest = num_tokens - offset - num_image_tokens
    after = np.broadcast_to(np.arange(rest), (3, rest)) + offset + max(height, width)
    return np.concatenate([before, inside, after], axis=1)
