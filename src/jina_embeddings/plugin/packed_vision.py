"""Images of a pack: pixels to patches on the device, through vLLM's vision tower, and kept by content."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from vllm.forward_context import set_forward_context

from ..images import ImageConfig
from ..packs import PackedImage
from .resize import resize_bicubic
from .transfer import SideCopies, to_device
from .vision_tower import fused_norms

# Features of the vision tower that are kept for the next task that asks for the same picture.
_CACHE_BYTES = 256 * 1024**2
# Packs of pictures whose windows are remembered: pages of one document have one size, so packs repeat.
_LAYOUTS = 4


class VisionCache:
    """Features of images by content: a second task, or a multi-vector call, skips the tower."""

    def __init__(self, model: Any, config: Any, device: torch.device):
        self._model = model
        self._device = device
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._num_bytes = 0
        self._copies = SideCopies(device)
        self._tower = Tower(model, config)
        self.merge_size: int = model.visual.spatial_merge_size

    def features(self, images: tuple[PackedImage, ...]) -> list[torch.Tensor]:
        """(num_tokens, hidden) of each image; those not at hand go through the tower together."""
        missing = {image.digest: image for image in images if image.digest not in self._features}
        found = {image.digest: self._features[image.digest] for image in images if image.digest not in missing}
        if missing:
            some = list(missing.values())
            computed = self._tower(self._patches(some), [image.grid for image in some])
            found.update(zip(missing, computed, strict=True))
        for image in images:
            self._keep(image.digest, found[image.digest])
        return [found[image.digest] for image in images]

    def _patches(self, images: Sequence[PackedImage]) -> torch.Tensor:
        """Patches of all the images, one after the other, in the tower's own type."""
        pixels = self._copies.to_device([image.pixels for image in images])
        dtype, parts, first = self._model.visual.dtype, [], 0
        # Neighbours of one size are cut together: a few launches instead of a few for each.
        for (shape, grid), group in groupby(images, key=lambda image: (image.pixels.shape, image.grid)):
            same = list(group)
            stop = first + len(same) * int(np.prod(shape))
            batch = pixels[first:stop].view(len(same), *shape)
            config = same[0].config
            height, width = (config.patch_size * count for count in grid[1:])
            if (height, width) != shape[:2]:
                batch = torch.stack([resize_bicubic(one, height, width) for one in batch])
            parts.append(patchify_on(batch, config, dtype))
            first = stop
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _keep(self, digest: str, features: torch.Tensor) -> None:
        if digest not in self._features:
            # A copy: the tower returned a part of one large tensor, which would otherwise stay whole.
            self._features[digest] = features.clone()
            self._num_bytes += features.nbytes
        self._features.move_to_end(digest)
        while self._num_bytes > _CACHE_BYTES:
            self._num_bytes -= self._features.popitem(last=False)[1].nbytes


class Tower:
    """vLLM's vision tower, with the windows of the last packs at hand.

    Working them out takes the host milliseconds, and vLLM 0.26 then copies them from memory that isn't pinned, which
    waits for the pack before.
    """

    def __init__(self, model: Any, config: Any):
        self._model = model
        self._config = config
        # Split over a group by images, vLLM lays them out itself.
        split = getattr(model, "use_data_parallel", False)
        self._remembers = hasattr(model.visual, "prepare_encoder_metadata") and not split
        self._layouts: OrderedDict[tuple[tuple[int, int, int], ...], Any] = OrderedDict()

    def __call__(self, patches: torch.Tensor, grids: Sequence[tuple[int, int, int]]) -> Sequence[torch.Tensor]:
        """(num_tokens, hidden) of each image."""
        if not self._remembers:
            features: Sequence[torch.Tensor] = self._model.embed_multimodal(
                pixel_values=patches, image_grid_thw=torch.tensor(grids)
            )
            return features
        visual = self._model.visual
        listed = [list(grid) for grid in grids]
        layout = self._layout(tuple(grids))
        # Where vLLM has compiled the tower's blocks, they ask the context for their graphs.
        with set_forward_context(None, self._config), fused_norms(self._config, visual.device):
            whole: torch.Tensor = visual(patches, grid_thw=listed, encoder_metadata=layout)
        unit = visual.spatial_merge_size**2
        parts: Sequence[torch.Tensor] = whole.split(
            [frames * rows * columns // unit for frames, rows, columns in grids]
        )
        return parts

    def _layout(self, grids: tuple[tuple[int, int, int], ...]) -> Any:
        if grids not in self._layouts:
            self._layouts[grids] = self._model.visual.prepare_encoder_metadata([list(grid) for grid in grids])
            if len(self._layouts) > _LAYOUTS:
                self._layouts.popitem(last=False)
        self._layouts.move_to_end(grids)
        return self._layouts[grids]


def patchify_on(pixels: torch.Tensor, config: ImageConfig, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """`images.patchify` on the device of the pixels: the same float32 numbers in the same places, then of `dtype`.

    pixels: uint8 (num_images, height, width, 3), both sides multiples of `config.factor`.
    """
    patch, merge = config.patch_size, config.merge_size
    count, height, width, _ = pixels.shape
    by_token = pixels.view(count, height // patch // merge, merge, patch, width // patch // merge, merge, patch, 3)
    # Images, rows of tokens, tokens, rows and columns of patches in a token; then channels, rows, columns.
    ordered = by_token.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(-1, 3, 1, patch * patch)
    # By tensors: a division by a plain number becomes a product on a GPU, which rounds otherwise.
    scale, mean, std = to_device(np.array([(255, 255, 255), config.mean, config.std], np.float32), pixels.device)
    values = (ordered / scale[:, None, None] - mean[:, None, None]) / std[:, None, None]
    # A still image fills every frame of a patch; rounded before that, since it is half the numbers.
    every = values.to(dtype).expand(-1, 3, config.temporal_patch_size, -1)
    patches: torch.Tensor = every.reshape(-1, config.patch_dim)
    return patches
