"""Resizes a PIL image and cuts it into normalised patches, which the vision tower reads.

    load_image -> resize_image -> patchify
    any source    uint8 (h, w, 3)  float32 (num_patches, patch_dim)

The values are those of transformers' `Qwen2VLImageProcessor`, computed without torch. If preprocessing differed
slightly, the vectors of an image would differ too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CheckpointInvalidError, ImageError, InputError
from .decoding import check_image_size, describe_source
from .fetching import fetch
from .pdf import num_pdf_pages, pdf_pages
from .sources import ImageSource, load_image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

__all__ = [
    "ImageConfig",
    "ImageSource",
    "describe_source",
    "fetch",
    "grid",
    "load_image",
    "num_pdf_pages",
    "patchify",
    "pdf_pages",
    "resize_image",
    "resized_size",
]

_BICUBIC = 3
_FIXED_STEPS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": _BICUBIC}


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The image settings of a checkpoint; the defaults are those of jina-embeddings-v4.

    patch_size: side of a patch, in pixels.
    merge_size: side of a token, in patches.
    temporal_patch_size: frames in a patch; a still image is repeated to fill it.
    min_pixels, max_pixels: bounds of the resized image's area.
    mean, std: mean and standard deviation of the red, green and blue channel, on a scale of 0 to 1.
    """

    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 3136
    max_pixels: int = 602112
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    @property
    def factor(self) -> int:
        """Side of a token, in pixels; both sides of a resized image are multiples of it."""
        return self.patch_size * self.merge_size

    @property
    def patch_dim(self) -> int:
        """Values of one patch."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    @classmethod
    def from_preprocessor_config(cls, config: Mapping[str, Any]) -> ImageConfig:
        """Reads the contents of a checkpoint's `preprocessor_config.json`.

        Keys that are absent or null take the defaults; `min_pixels` and `max_pixels` win over `size`, as
        in transformers. Raises CheckpointInvalidError for a value that can't be, and for a step that this
        module always does otherwise (another resampling, no normalising): ignored, it would give wrong
        vectors.
        """
        for key, done in _FIXED_STEPS.items():
            if config.get(key) not in (None, done):
                raise _invalid(key, config[key], repr(done))
        rescale = config.get("rescale_factor")
        if rescale is not None and not math.isclose(rescale, 1 / 255, rel_tol=1e-6):
            raise _invalid("rescale_factor", rescale, "1/255")

        size = config.get("size") or {}
        found = {
            "patch_size": config.get("patch_size"),
            "merge_size": config.get("merge_size"),
            "temporal_patch_size": config.get("temporal_patch_size"),
            "min_pixels": _first(config.get("min_pixels"), size.get("shortest_edge")),
            "max_pixels": _first(config.get("max_pixels"), size.get("longest_edge")),
        }
        fields: dict[str, Any] = {key: value for key, value in found.items() if value is not None}
        for key, value in fields.items():
            if not isinstance(value, int) or value < 1:
                raise _invalid(key, value, "an integer over 0")
        if config.get("image_mean") is not None:
            fields["mean"] = _three_numbers("image_mean", config["image_mean"])
        if config.get("image_std") is not None:
            fields["std"] = _three_numbers("image_std", config["image_std"])
            if min(fields["std"]) <= 0:
                raise _invalid("image_std", config["image_std"], "numbers over 0")
        return cls(**fields)


def resized_size(height: int, width: int, *, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """The (height, width) that an image of `height` x `width` pixels is resized to.

    Both are multiples of `factor` and at least `factor`. The area is between `min_pixels` and `max_pixels` if the
    aspect ratio allows it, and the ratio is kept as far as that permits. If `min_pixels` is larger than `max_pixels`,
    `max_pixels` counts.

    This is Qwen2-VL's `smart_resize` (transformers, `models/qwen2_vl/image_processing_qwen2_vl.py`): both sides are
    rounded to multiples of the factor, half to even. If the area is then out of bounds, the original sides are scaled
    by sqrt(bound / (height * width)) and rounded down for the maximum, up for the minimum.

    Raises:
        ImageError: the image is empty, or its aspect ratio is over 200.
        InputError: the factor or a bound is below 1.
    """
    if min(factor, min_pixels, max_pixels) < 1:
        raise InputError(f"factor {factor}, min_pixels {min_pixels}, max_pixels {max_pixels}: below 1")
    check_image_size(width, height, "image")

    rounded_height = round(height / factor) * factor
    rounded_width = round(width / factor) * factor
    area = rounded_height * rounded_width
    if area > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        return (
            max(factor, math.floor(height / shrink / factor) * factor),
            max(factor, math.floor(width / shrink / factor) * factor),
        )
    if area < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        return math.ceil(height * grow / factor) * factor, math.ceil(width * grow / factor) * factor
    return rounded_height, rounded_width


def resize_image(image: Image.Image, *, factor: int, min_pixels: int, max_pixels: int) -> NDArray[np.uint8]:
    """Resizes an RGB image (see `load_image`) by PIL's bicubic filter: uint8 (height, width, 3).

    Raises ImageError for another mode and for what `resized_size` refuses.
    """
    if image.mode != "RGB":
        raise ImageError(f"image of mode {image.mode}, expected RGB: pass it through load_image")
    height, width = resized_size(image.height, image.width, factor=factor, min_pixels=min_pixels, max_pixels=max_pixels)
    if image.size != (width, height):
        image = image.resize((width, height), _BICUBIC)
    return np.array(image)


def resized(pixels: NDArray[np.uint8], grid: tuple[int, int, int], config: ImageConfig) -> NDArray[np.uint8]:
    """The pixels resized by PIL's bicubic filter to the size of the grid; the same array if they have that size."""
    height, width = grid[1] * config.patch_size, grid[2] * config.patch_size
    if pixels.shape[:2] == (height, width):
        return pixels
    from PIL import Image

    return np.array(Image.fromarray(pixels).resize((width, height), _BICUBIC))


def grid(pixels: NDArray[np.uint8], config: ImageConfig) -> tuple[int, int, int]:
    """(1, height / patch, width / patch) of resized pixels: frames, rows and columns of patches.

    Raises ImageError unless pixels are uint8 (h, w, 3) with sides that are multiples of `config.factor`.
    """
    shape, factor = pixels.shape, config.factor
    if pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or shape[0] % factor or shape[1] % factor:
        raise ImageError(
            f"pixels are {pixels.dtype} {shape}, expected uint8 (height, width, 3) with sides that are"
            f" multiples of {factor}: pass the image through resize_image"
        )
    return 1, shape[0] // config.patch_size, shape[1] // config.patch_size


def patchify(pixels: NDArray[np.uint8], config: ImageConfig) -> NDArray[np.float32]:
    """Normalised patches of one still image: float32 (num_patches, 3 * temporal * patch * patch).

    pixels: uint8 (h, w, 3) from `resize_image`; num_patches is h / patch * w / patch.

    Values are (pixel / 255 - mean) / std, rounded to float32 at each step. The layout is that of
    transformers' `Qwen2VLImageProcessor`: the patches of one token are neighbours (rows of tokens, tokens,
    then merge x merge patches by rows), and a patch holds channels, frames, rows, columns.

    Raises ImageError for pixels that `grid` refuses.
    """
    _, rows, columns = grid(pixels, config)
    patch, merge = config.patch_size, config.merge_size
    area = patch * patch
    token_rows, per_token_row = rows // merge, merge * columns

    by_token = pixels.reshape(token_rows, merge, patch, columns // merge, merge, patch, 3)
    # Reordered as bytes, since reordering floats moves four times as much memory.
    bands = by_token.transpose(0, 3, 1, 4, 6, 2, 5).reshape(token_rows, per_token_row, 3 * area)
    mean = np.repeat(np.asarray(config.mean, np.float32), area)
    std = np.repeat(np.asarray(config.std, np.float32), area)

    patches = np.empty((token_rows, per_token_row, 3, config.temporal_patch_size, area), np.float32)
    # One row of tokens at a time, so that its floats stay in the processor's cache.
    for band, out in zip(bands, patches, strict=True):
        values = np.divide(band, 255, dtype=np.float32)
        values -= mean
        values /= std
        out[:] = values.reshape(per_token_row, 3, 1, area)
    return patches.reshape(rows * columns, config.patch_dim)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _three_numbers(key: str, values: Any) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError):
        raise _invalid(key, values, "three numbers") from None
    return red, green, blue


def _invalid(key: str, value: object, expected: str) -> CheckpointInvalidError:
    return CheckpointInvalidError(f"preprocessor config: {key} is {value!r}, expected {expected}")
