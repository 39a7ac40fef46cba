"""Images of a pack: resized and cut into patches on the device, run through the vision tower, cached by content."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

from ...inputs.patches import ImageConfig
from ..packs import PackedImage
from .resize import resize_bicubic
from .tower import Tower
from .tower_graphs import Record, TowerGraphs
from .transfer import SideCopies, to_device

# Device memory for the features of images that were seen last, in case another task asks for the same image.
_CACHE_BYTES = 256 * 1024**2
# Patches to each side of an image that has more of them than `fp8.MAX_SEPARATE_TOKENS`, above which other kernels run.
_WARM_UP_SIDE = 32


class FeatureCache:
    """The features of the images that were used last, by digest."""

    def __init__(self, max_bytes: int = _CACHE_BYTES):
        self._max_bytes = max_bytes
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._num_bytes = 0

    @property
    def digests(self) -> list[str]:
        """Those of the images that are in it, the least recently used first."""
        return list(self._features)

    def get(self, digest: str) -> torch.Tensor | None:
        return self._features.get(digest)

    def keep(self, digest: str, features: torch.Tensor) -> None:
        """Notes that an image was used, and removes those that no longer fit, which were used least recently."""
        if digest not in self._features:
            # Cloned, since it is a view: it would keep the features of all images of the batch in memory.
            self._features[digest] = features.clone()
            self._num_bytes += features.nbytes
        self._features.move_to_end(digest)
        while self._num_bytes > self._max_bytes:
            self._num_bytes -= self._features.popitem(last=False)[1].nbytes


class VisionCache:
    """The vision tower with a cache of its features: the same image for a second task doesn't run through it again."""

    def __init__(self, model: Any, tower: Tower, device: torch.device):
        self._model = model
        self.cache = FeatureCache()
        self.copies = SideCopies(device)
        self._tower = tower
        self._lock = threading.Lock()
        self.merge_size: int = model.visual.spatial_merge_size

    def warm_up(self, *, large: bool) -> None:
        """Runs a small image, whose features are not cached; large: also one that uses the kernels of large ones."""
        weight = self._model.visual.patch_embed.proj.weight
        for side in (2 * self.merge_size, _WARM_UP_SIDE)[: 1 + large]:
            self._tower(weight.new_zeros(side * side, weight[0].numel()), [(1, side, side)])

    def record_graphs(self, record: Record) -> None:
        """From now on runs the tower on single images by graphs; record: as of `TowerGraphs`."""
        self._tower.graphs = TowerGraphs(record)

    def features(self, images: tuple[PackedImage, ...]) -> list[torch.Tensor]:
        """(num_tokens, hidden) of each image; all images that aren't cached run through the tower in one batch.

        Several threads may call it, if their current stream is the same.
        """
        if not images:
            return []
        with self._lock:
            return self._features_of(images)

    def _features_of(self, images: tuple[PackedImage, ...]) -> list[torch.Tensor]:
        found, missing = {}, {}
        for image in images:
            features = self.cache.get(image.digest)
            if features is None:
                missing[image.digest] = image
            else:
                found[image.digest] = features
        if missing:
            some = list(missing.values())
            computed = self._tower(self._patches(some), [image.grid for image in some])
            found.update(zip(missing, computed, strict=True))
        for image in images:
            self.cache.keep(image.digest, found[image.digest])
        return [found[image.digest] for image in images]

    def _patches(self, images: Sequence[PackedImage]) -> torch.Tensor:
        """The patches of all the images concatenated, (num_patches, patch_dim), in the tower's dtype."""
        pixels = self.copies.to_device([image.pixels for image in images])
        dtype, parts, first = self._model.visual.dtype, [], 0
        # Neighbouring images of one size are one batch, which takes fewer kernel launches than one image each.
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


def patchify_on(pixels: torch.Tensor, config: ImageConfig, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """`inputs.patches.patchify` on the device of the pixels: the same float32 values, then converted to `dtype`.

    pixels: uint8 (num_images, height, width, 3), both sides multiples of `config.factor`.
    """
    patch, merge = config.patch_size, config.merge_size
    count, height, width, _ = pixels.shape
    by_token = pixels.view(count, height // patch // merge, merge, patch, width // patch // merge, merge, patch, 3)
    # (image, token row, token column, patch row, patch column, channel, pixel row, pixel column), where patch row and
    # column count within a token.
    ordered = by_token.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(-1, 3, 1, patch * patch)
    # Divide by tensors: on a GPU torch replaces a division by a scalar with a product, which rounds differently.
    scale, mean, std = to_device(np.array([(255, 255, 255), config.mean, config.std], np.float32), pixels.device)
    values = (ordered / scale[:, None, None] - mean[:, None, None]) / std[:, None, None]
    # A still image is repeated for every frame of a patch; converting to `dtype` before that is half the work.
    every = values.to(dtype).expand(-1, 3, config.temporal_patch_size, -1)
    patches: torch.Tensor = every.reshape(-1, config.patch_dim)
    return patches
