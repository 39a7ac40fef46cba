"""Images of a pack: pixels to patches on the device, through vLLM's vision tower, and kept by content."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from ..images import ImageConfig
from ..packs import PackedImage
from .resize import resize_bicubic
from .transfer import to_device

# Features of the vision tower that are kept for the next task that asks for the same picture.
_CACHE_BYTES = 256 * 1024**2


class VisionCache:
    """Features of images by content: a second task, or a multi-vector call, skips the tower."""

    def __init__(self, model: Any, device: torch.device):
        self._model = model
        self._device = device
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._num_bytes = 0
        self.merge_size: int = model.visual.spatial_merge_size

    def features(self, images: tuple[PackedImage, ...]) -> list[torch.Tensor]:
        """(num_tokens, hidden) of each image; those not at hand go through the tower together."""
        missing = {image.digest: image for image in images if image.digest not in self._features}
        found = {image.digest: self._features[image.digest] for image in images if image.digest not in missing}
        if missing:
            patches = [self._patches(image) for image in missing.values()]
            computed = self._model.embed_multimodal(
                pixel_values=torch.cat(patches).to(self._model.visual.dtype),
                image_grid_thw=torch.tensor([image.grid for image in missing.values()]),
            )
            found.update(zip(missing, computed, strict=True))
        for image in images:
            self._keep(image.digest, found[image.digest])
        return [found[image.digest] for image in images]

    def _patches(self, image: PackedImage) -> torch.Tensor:
        pixels = to_device(image.pixels, self._device)
        height, width = (image.config.patch_size * count for count in image.grid[1:])
        return patchify_on(resize_bicubic(pixels, height, width), image.config)

    def _keep(self, digest: str, features: torch.Tensor) -> None:
        if digest not in self._features:
            # A copy: the tower returned a part of one large tensor, which would otherwise stay whole.
            self._features[digest] = features.clone()
            self._num_bytes += features.nbytes
        self._features.move_to_end(digest)
        while self._num_bytes > _CACHE_BYTES:
            self._num_bytes -= self._features.popitem(last=False)[1].nbytes


def patchify_on(pixels: torch.Tensor, config: ImageConfig) -> torch.Tensor:
    """`images.patchify` on the device of the pixels: the same float32 numbers in the same places.

    pixels: uint8 (height, width, 3), both sides multiples of `config.factor`.
    """
    patch, merge = config.patch_size, config.merge_size
    height, width, _ = pixels.shape
    by_token = pixels.view(height // patch // merge, merge, patch, width // patch // merge, merge, patch, 3)
    # Rows of tokens, tokens, rows and columns of patches in a token; then channels, rows, columns.
    ordered = by_token.permute(0, 3, 1, 4, 6, 2, 5).reshape(-1, 3, 1, patch * patch)
    # By tensors: a division by a plain number becomes a product on a GPU, which rounds otherwise.
    scale, mean, std = to_device(np.array([(255, 255, 255), config.mean, config.std], np.float32), pixels.device)
    values = (ordered / scale[:, None, None] - mean[:, None, None]) / std[:, None, None]
    # A still image fills every frame of a patch.
    patches: torch.Tensor = values.expand(-1, 3, config.temporal_patch_size, -1).reshape(-1, config.patch_dim)
    return patches
