"""Resizing and patches: transformers' values, and the settings of `preprocessor_config.json`."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from jina_embeddings.errors import CheckpointInvalidError, ImageError, InputError
from jina_embeddings.inputs.patches import ImageConfig, grid, patchify, resize_image, resized_size
from jina_embeddings.torch_companions import repair

MAX_ABS_DIFFERENCE = 1e-5
LIMITS = {"factor": 28, "min_pixels": 3136, "max_pixels": 602112}


@pytest.fixture(scope="module")
def qwen2_vl() -> ModuleType:
    repair()
    from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl

    module: ModuleType = image_processing_pil_qwen2_vl
    return module


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(image: Image.Image, config: ImageConfig) -> np.ndarray:
    return resize_image(image, factor=config.factor, min_pixels=config.min_pixels, max_pixels=config.max_pixels)


@pytest.mark.parametrize(
    ("height", "width"),
    [(28, 28), (300, 300), (60, 480), (480, 60), (3000, 4000), (37, 1000), (5, 3), (14, 14), (896, 672)],
)
def test_patches_and_grid_are_those_of_transformers(qwen2_vl: ModuleType, height: int, width: int) -> None:
    config = ImageConfig()
    processor = qwen2_vl.Qwen2VLImageProcessorPil(min_pixels=config.min_pixels, max_pixels=config.max_pixels)
    image = Image.fromarray(noise(height, width))
    expected = processor(images=image, return_tensors="np")

    pixels = resized(image, config)
    patches = patchify(pixels, config)

    assert [grid(pixels, config)] == [tuple(row) for row in expected["image_grid_thw"]]
    assert patches.dtype == np.float32
    assert patches.shape == expected["pixel_values"].shape
    assert np.abs(patches - expected["pixel_values"]).max() <= MAX_ABS_DIFFERENCE


def test_sizes_are_those_of_transformers(qwen2_vl: ModuleType) -> None:
    random = np.random.default_rng(0)
    drawn = np.exp(random.uniform(0, np.log(6000), (3000, 2))).astype(int) + 1
    sides = [(h, w) for h, w in drawn.tolist() if max(h, w) <= 200 * min(h, w)]
    limits = [(28, 3136, 602112), (28, 3136, 50_000), (32, 65_536, 100_000)]
    for height, width in sides:
        for factor, low, high in limits:
            ours = resized_size(height, width, factor=factor, min_pixels=low, max_pixels=high)
            assert ours == qwen2_vl.smart_resize(height, width, factor, low, high)


def test_patch_layout_is_token_then_channel_frame_row_column() -> None:
    config = ImageConfig(patch_size=2, merge_size=2, temporal_patch_size=3, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    pixels = noise(8, 12)
    patches = patchify(pixels, config).reshape(2, 3, 2, 2, 3, 3, 2, 2)
    for index in np.ndindex(patches.shape):
        token_row, token_column, merge_row, merge_column, channel, _, y, x = index
        value = pixels[token_row * 4 + merge_row * 2 + y, token_column * 4 + merge_column * 2 + x, channel]
        assert patches[index] == pytest.approx(value, abs=1e-3)


def test_every_pixel_value_is_normalised_per_channel_in_float32() -> None:
    config = ImageConfig()
    pixels = np.zeros((28, 28, 3), np.uint8)
    pixels.reshape(-1, 3)[:256] = np.arange(256)[:, None]
    patches = patchify(pixels, config)
    unit = (np.arange(256) * (1 / 255)).astype(np.float32)
    for channel in range(3):
        table = (unit - np.float32(config.mean[channel])) / np.float32(config.std[channel])
        found = patches.reshape(-1, 3, 2 * 14 * 14)[:, channel]
        assert np.array_equal(np.unique(found), np.unique(table))


def test_patchify_reads_arrays_that_are_not_contiguous() -> None:
    config = ImageConfig()
    pixels = noise(56, 84)
    flipped = pixels[::-1, ::-1]
    assert np.array_equal(patchify(flipped, config), patchify(flipped.copy(), config))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((28, 28, 3), np.float32),
        np.zeros((28, 28), np.uint8),
        np.zeros((28, 28, 4), np.uint8),
        np.zeros((28, 42, 3), np.uint8),
        np.zeros((27, 28, 3), np.uint8),
    ],
)
def test_pixels_of_another_type_or_shape_are_refused_with_the_remedy(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match="resize_image"):
        patchify(pixels, ImageConfig())


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((28, 28), (56, 56)),  # up to min_pixels
        ((42, 70), (56, 56)),  # 1.5 and 2.5 tokens: both round to even
        ((896, 672), (896, 672)),  # as large as allowed
        ((3000, 4000), (672, 896)),  # down to max_pixels
        ((20, 4000), (28, 4004)),  # no side below one token
    ],
)
def test_resized_size_by_hand(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_size(*size, **LIMITS) == expected


def test_max_pixels_wins_over_a_larger_min_pixels() -> None:
    height, width = resized_size(500, 500, factor=28, min_pixels=100_000, max_pixels=10_000)
    assert height * width <= 10_000


@pytest.mark.parametrize(("height", "width"), [(0, 10), (10, 0), (10, 2001), (2001, 10)])
def test_empty_and_very_long_images_are_refused_by_resized_size(height: int, width: int) -> None:
    with pytest.raises(ImageError, match=f"{width} x {height}"):
        resized_size(height, width, **LIMITS)


def test_the_longest_allowed_image_is_resized() -> None:
    assert resized(Image.new("RGB", (2000, 10)), ImageConfig()).shape == (28, 812, 3)


@pytest.mark.parametrize("limit", ["factor", "min_pixels", "max_pixels"])
def test_limits_below_one_are_refused(limit: str) -> None:
    with pytest.raises(InputError, match=limit):
        resized_size(100, 100, **(LIMITS | {limit: 0}))


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    pixels = noise(56, 84)
    result = resized(Image.fromarray(pixels), ImageConfig())
    assert np.array_equal(result, pixels)
    assert result.flags.writeable


def test_resizing_another_mode_is_refused() -> None:
    with pytest.raises(ImageError, match="load_image"):
        resized(Image.new("RGBA", (56, 56)), ImageConfig())


def test_config_defaults_are_those_of_an_empty_preprocessor_config() -> None:
    assert ImageConfig.from_preprocessor_config({}) == ImageConfig()
    assert (ImageConfig().factor, ImageConfig().patch_dim) == (28, 1176)


def test_config_reads_every_key() -> None:
    config = ImageConfig.from_preprocessor_config(
        {
            "do_normalize": True,
            "image_mean": [0.5, 0.25, 0],
            "image_std": [1, 0.5, 0.25],
            "max_pixels": 5000,
            "merge_size": 3,
            "min_pixels": 100,
            "patch_size": 4,
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "temporal_patch_size": 1,
        }
    )
    assert config == ImageConfig(4, 3, 1, 100, 5000, (0.5, 0.25, 0.0), (1.0, 0.5, 0.25))


def test_config_takes_pixels_from_size_where_there_is_no_other() -> None:
    size = {"shortest_edge": 111, "longest_edge": 222}
    config = ImageConfig.from_preprocessor_config({"size": size, "min_pixels": None})
    assert (config.min_pixels, config.max_pixels) == (111, 222)
    config = ImageConfig.from_preprocessor_config({"size": size, "max_pixels": 333})
    assert (config.min_pixels, config.max_pixels) == (111, 333)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patch_size", 0),
        ("merge_size", "2"),
        ("max_pixels", 1.5),
        ("image_mean", [0.5, 0.5]),
        ("image_mean", 0.5),
        ("image_std", [0.5, 0, 0.5]),
        ("do_normalize", False),
        ("do_resize", False),
        ("resample", 2),
        ("rescale_factor", 1.0),
    ],
)
def test_config_refuses_what_would_give_wrong_vectors(key: str, value: object) -> None:
    with pytest.raises(CheckpointInvalidError, match=key):
        ImageConfig.from_preprocessor_config({key: value})


def test_importing_loads_no_heavy_package() -> None:
    code = """
import sys, jina_embeddings
before = set(sys.modules)
import jina_embeddings.inputs.patches
print({"torch", "transformers", "PIL", "httpx", "pypdfium2", "asyncio"} & (set(sys.modules) - before))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
