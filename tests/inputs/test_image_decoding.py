"""Encoded images of every mode become RGB: upright, on white, with 8 bits a channel."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_files import saved
from jina_embeddings.errors import ImageError
from jina_embeddings.inputs.sources import load_image

WHITE = (255, 255, 255)
UPRIGHT = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)


# What a camera stores so that a viewer, following the EXIF orientation, shows UPRIGHT.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


def with_orientation(orientation: int, file_format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(np.ascontiguousarray(STORED[orientation])), file_format, exif=exif)


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    assert image.mode == "RGB"
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def palette_image() -> Image.Image:
    """An image of a red, a green and a blue pixel."""
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_exif_orientation_is_undone(orientation: int, file_format: str) -> None:
    image = load_image(with_orientation(orientation, file_format))
    assert np.array_equal(np.asarray(image), UPRIGHT)


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_of_a_pil_image_is_undone_once(orientation: int) -> None:
    image = Image.open(io.BytesIO(with_orientation(orientation, "PNG")))
    once = load_image(image)
    assert np.array_equal(np.asarray(once), UPRIGHT)
    assert np.array_equal(np.asarray(load_image(once)), UPRIGHT)


def test_damaged_exif_leaves_a_good_image_as_stored() -> None:
    data = saved(Image.new("RGB", (4, 4), "red"), "PNG", exif=b"Exif\0\0not a TIFF header")
    assert pixel(load_image(data)) == (255, 0, 0)


@pytest.mark.parametrize("file_format", ["BMP", "GIF", "ICO", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_keep_the_colour(file_format: str) -> None:
    options: dict[str, object] = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(Image.new("RGB", (32, 32), (10, 200, 30)), file_format, **options)
    assert pixel(load_image(data)) == (10, 200, 30)


def test_a_fresh_process_reads_more_than_the_commonest_formats(tmp_path: Path) -> None:
    path = tmp_path / "x"
    Image.new("RGB", (4, 4)).save(path, "WEBP")
    code = f"from jina_embeddings.inputs.patches import load_image; print(load_image({str(path)!r}).size)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "(4, 4)"


def test_jpeg_is_read_in_colour_and_in_grey() -> None:
    red = load_image(saved(Image.new("RGB", (16, 16), (200, 30, 60)), "JPEG"))
    assert np.abs(np.subtract(pixel(red), (200, 30, 60))).max() <= 3
    assert pixel(load_image(saved(Image.new("L", (16, 16), 90), "JPEG"))) == (90, 90, 90)


def test_cmyk_jpeg_becomes_rgb() -> None:
    data = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert np.abs(np.subtract(pixel(load_image(data)), (255, 0, 0))).max() <= 4


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, WHITE),
        ("1", 0, (0, 0, 0)),
        ("L", 77, (77, 77, 77)),
        ("RGBX", (1, 2, 3, 0), (1, 2, 3)),
        ("CMYK", (255, 0, 255, 0), (0, 255, 0)),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("LAB", (128, 128, 128), (119, 119, 119)),
        ("HSV", (85, 255, 255), (0, 255, 0)),
        ("RGBA", (9, 8, 7, 255), (9, 8, 7)),
        ("RGBA", (9, 8, 7, 0), WHITE),
        ("RGBA", (0, 0, 255, 128), (127, 127, 255)),
        ("RGBa", (0, 0, 128, 128), (127, 127, 255)),
        ("LA", (50, 255), (50, 50, 50)),
        ("LA", (50, 0), WHITE),
        ("LA", (0, 128), (127, 127, 127)),
        ("La", (0, 128), (127, 127, 127)),
    ],
)
def test_each_mode_becomes_rgb_on_white(mode: str, colour: Any, expected: tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 2), colour)
    assert pixel(load_image(image)) == expected
    assert image.mode == mode


def test_palette_without_transparency() -> None:
    image = load_image(saved(palette_image(), "PNG"))
    assert [pixel(image, x) for x in range(3)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_palette_with_one_transparent_colour(file_format: str) -> None:
    image = load_image(saved(palette_image(), file_format, transparency=1))
    assert [pixel(image, x) for x in range(3)] == [(255, 0, 0), WHITE, (0, 0, 255)]


def test_palette_with_an_alpha_for_each_colour() -> None:
    image = load_image(saved(palette_image(), "PNG", transparency=bytes([255, 0, 128])))
    assert [pixel(image, x) for x in range(3)] == [(255, 0, 0), WHITE, (127, 127, 255)]


def test_palette_with_an_alpha_channel_or_an_rgba_palette() -> None:
    image = Image.new("PA", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), (0, 255))
    image.putpixel((1, 0), (1, 0))
    rgb = load_image(image)
    assert [pixel(rgb, x) for x in range(2)] == [(255, 0, 0), WHITE]

    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 255, 0, 255, 0, 0], "RGBA")
    image.putdata([0, 1])
    rgb = load_image(image)
    assert [pixel(rgb, x) for x in range(2)] == [(255, 0, 0), WHITE]


@pytest.mark.parametrize(
    ("mode", "values", "key", "expected"),
    [
        ("RGB", [(1, 2, 3), (4, 5, 6)], (4, 5, 6), (1, 2, 3)),
        ("L", [7, 8], 8, (7, 7, 7)),
        ("I;16", [257 * 7, 257 * 8], 257 * 8, (7, 7, 7)),
    ],
)
def test_a_png_colour_key_is_transparent(mode: str, values: list[Any], key: object, expected: tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    rgb = load_image(saved(image, "PNG", transparency=key))
    assert [pixel(rgb, 0), pixel(rgb, 1)] == [expected, WHITE]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    values = np.array([[0, 128, 257 * 100, 257 * 100 + 129, 65535]], np.uint16)
    image = load_image(saved(Image.fromarray(values), file_format))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 0, 100, 101, 255]


def test_16_bit_big_endian_is_scaled() -> None:
    image = Image.frombytes("I;16B", (2, 1), np.array([257 * 100, 65535], ">u2").tobytes())
    assert np.asarray(load_image(image))[0, :, 2].tolist() == [100, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 25_700, 65_535]], np.int32), [0, 100, 255]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 254.6]], np.float32), [0, 100, 255]),
        (np.array([[0, 25_700, 65_535]], np.float32), [0, 100, 255]),
    ],
)
def test_32_bit_grey_is_scaled_by_its_range(values: np.ndarray, expected: list[int]) -> None:
    image = Image.fromarray(values)
    assert image.mode in ("I", "F")
    assert np.asarray(load_image(image))[0, :, 1].tolist() == expected


@pytest.mark.parametrize("value", [-1, 65_536, float("nan"), float("inf")])
def test_grey_values_beyond_16_bits_are_refused(value: float) -> None:
    with pytest.raises(ImageError, match="grey values"):
        load_image(Image.fromarray(np.array([[0, value]], np.float32)))


def test_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for file_format in ("GIF", "PNG", "WEBP", "TIFF", "MPO"):
        data = saved(frames[0], file_format, save_all=True, append_images=frames[1:])
        assert np.abs(np.subtract(pixel(load_image(data)), (255, 0, 0))).max() <= 3, file_format


def test_a_pil_image_is_never_modified() -> None:
    image = Image.new("RGBA", (4, 2), (1, 2, 3, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info["exif"] = exif.tobytes()
    before = (image.mode, image.size, image.tobytes(), dict(image.info))
    assert load_image(image).size == (2, 4)
    assert (image.mode, image.size, image.tobytes(), dict(image.info)) == before


def test_an_upright_rgb_image_is_not_copied() -> None:
    image = Image.new("RGB", (4, 4))
    assert load_image(image) is image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_of_a_high_image_is_laid_on_white_everywhere(mode: str) -> None:
    """Transparency is laid on white in bands of rows."""
    rgba = np.random.default_rng(2).integers(0, 256, (1000, 7, 4), dtype=np.uint8)
    image = Image.fromarray(rgba).convert(mode)
    whole = Image.new("RGB", image.size, "white")
    whole.paste(image.convert("RGBA"), mask=image.convert("RGBA"))
    assert np.array_equal(np.asarray(load_image(image)), np.asarray(whole))


def test_as_stored_drops_transparency_and_leaves_the_orientation() -> None:
    """The published model's code reads images by `Image.open(...).convert("RGB")`."""
    rgba = np.random.default_rng(3).integers(0, 256, (6, 4, 4), dtype=np.uint8)
    data = saved(Image.fromarray(rgba), "PNG")
    assert np.array_equal(np.asarray(load_image(data, as_stored=True)), rgba[:, :, :3])
    assert not np.array_equal(np.asarray(load_image(data)), rgba[:, :, :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    Image.fromarray(rgba[:, :, :3]).save(turned, "PNG", exif=exif)
    assert np.array_equal(np.asarray(load_image(turned.getvalue(), as_stored=True)), rgba[:, :, :3])
    assert load_image(turned.getvalue()).size == (6, 4)
    palette = Image.fromarray(rgba[:, :, :3]).quantize(8)
    stored = saved(palette, "GIF", transparency=3)
    expected = Image.open(io.BytesIO(stored)).convert("RGB")
    assert np.array_equal(np.asarray(load_image(stored, as_stored=True)), np.asarray(expected))


def test_an_image_that_could_be_transparent_and_is_not_is_the_same_as_without() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 40, 3), dtype=np.uint8))
    with_alpha = noise.convert("RGBA")
    assert load_image(with_alpha).tobytes() == noise.tobytes()
    # One pixel decides.
    with_alpha.putpixel((39, 299), (0, 0, 0, 254))
    expected = noise.copy()
    expected.putpixel((39, 299), (1, 1, 1))
    assert load_image(with_alpha).tobytes() == expected.tobytes()
