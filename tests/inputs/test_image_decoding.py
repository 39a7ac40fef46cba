"""Images of every mode, orientation and defect become upright RGB, or an error that names the source."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_embeddings.errors import ImageError
from jina_embeddings.inputs.budget import PIXELS, PixelBudget
from jina_embeddings.inputs.decoding import describe_source
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


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def with_orientation(orientation: int, file_format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(np.ascontiguousarray(STORED[orientation])), file_format, exif=exif)


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


def png_without_pixels(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")):
        chunk = name + content
        data += struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data


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
    data = encoded(Image.new("RGB", (4, 4), "red"), "PNG", exif=b"Exif\0\0not a TIFF header")
    assert pixel(load_image(data)) == (255, 0, 0)


@pytest.mark.parametrize("file_format", ["BMP", "GIF", "ICO", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_keep_the_colour(file_format: str) -> None:
    options: dict[str, object] = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(Image.new("RGB", (32, 32), (10, 200, 30)), file_format, **options)
    assert pixel(load_image(data)) == (10, 200, 30)


def test_a_fresh_process_reads_more_than_the_commonest_formats(tmp_path: Path) -> None:
    path = tmp_path / "x"
    Image.new("RGB", (4, 4)).save(path, "WEBP")
    code = f"from jina_embeddings.inputs.patches import load_image; print(load_image({str(path)!r}).size)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "(4, 4)"


def test_jpeg_is_read_in_colour_and_in_grey() -> None:
    red = load_image(encoded(Image.new("RGB", (16, 16), (200, 30, 60)), "JPEG"))
    assert np.abs(np.subtract(pixel(red), (200, 30, 60))).max() <= 3
    assert pixel(load_image(encoded(Image.new("L", (16, 16), 90), "JPEG"))) == (90, 90, 90)


def test_cmyk_jpeg_becomes_rgb() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
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
    image = load_image(encoded(palette_image(), "PNG"))
    assert [pixel(image, x) for x in range(3)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_palette_with_one_transparent_colour(file_format: str) -> None:
    image = load_image(encoded(palette_image(), file_format, transparency=1))
    assert [pixel(image, x) for x in range(3)] == [(255, 0, 0), WHITE, (0, 0, 255)]


def test_palette_with_an_alpha_for_each_colour() -> None:
    image = load_image(encoded(palette_image(), "PNG", transparency=bytes([255, 0, 128])))
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
    rgb = load_image(encoded(image, "PNG", transparency=key))
    assert [pixel(rgb, 0), pixel(rgb, 1)] == [expected, WHITE]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    values = np.array([[0, 128, 257 * 100, 257 * 100 + 129, 65535]], np.uint16)
    image = load_image(encoded(Image.fromarray(values), file_format))
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
        data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:])
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


RGB = np.random.default_rng(1).integers(0, 256, (2, 5, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (RGB, RGB),
        (RGB[:, ::-1], RGB[:, ::-1]),
        (RGB.transpose(2, 0, 1), RGB),
        (np.dstack([RGB, np.full((2, 5), 255, np.uint8)]), RGB),
        (np.dstack([RGB, np.zeros((2, 5), np.uint8)]), np.full_like(RGB, 255)),
        (GREY, np.dstack([GREY] * 3)),
        (GREY[:, :, None], np.dstack([GREY] * 3)),
        (GREY[None], np.dstack([GREY] * 3)),
        (RGB.astype(np.uint16) * 257, RGB),
        ((RGB.astype(np.uint16) * 257).astype(">u2"), RGB),
        ((RGB / 255).astype(">f4"), RGB),
        (GREY.astype(np.uint16) * 257, np.dstack([GREY] * 3)),
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float32), RGB),
        ((RGB / 255).astype(np.float16), RGB),
    ],
)
def test_arrays_of_each_shape_and_type(array: np.ndarray, expected: np.ndarray) -> None:
    assert np.array_equal(np.asarray(load_image(array)), expected)


def test_three_rows_of_rgb_are_read_as_channels_last() -> None:
    array = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert np.array_equal(np.asarray(load_image(array)), array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((2, 5, 2), np.uint8), "shape"),
        (np.zeros((1, 2, 5, 3), np.uint8), "shape"),
        (np.zeros((2, 5, 3), np.int64), "int64"),
        (np.zeros((2, 5), np.bool_), "bool"),
        (np.full((2, 5), 1.5), "1.5"),
        (np.full((2, 5), -0.5), "-0.5"),
        (np.full((2, 5), np.nan), "nan"),
        (np.zeros((0, 5, 3)), "5 x 0"),
        (np.zeros((5, 0), np.uint8), "0 x 5"),
        (np.zeros((1, 201), np.uint8), "201 x 1"),
    ],
)
def test_arrays_of_other_shapes_or_values_are_refused_with_the_reason(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(array)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (201, 1), (1, 201)])
def test_empty_and_very_long_images_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"{size[0]} x {size[1]}"):
        load_image(Image.new("RGB", size))


def test_a_decompression_bomb_is_an_error_with_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_without_pixels(20_000, 20_000))
    with pytest.raises(ImageError, match=r"bomb.png.*400000000.*178956970"):
        load_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_small_file_of_a_huge_image_takes_no_memory(mode: str, tmp_path: Path) -> None:
    """The size is one that Pillow itself would decode with a warning."""
    path = tmp_path / "bomb.png"
    Image.new(mode, (13_000, 10)).resize((10_100, 10)).save(path)
    data = bytearray(path.read_bytes())
    # The header says more rows than there are.
    data[20:24] = struct.pack(">I", 10_100)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=r"10100 x 10100 = 102010000 pixels, at most 100000000"):
        load_image(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_images_that_are_decoded_together_share_one_budget() -> None:
    """All threads share the pixel budget until their images are resized; an image above the budget runs alone."""
    budget = PixelBudget(100)
    held: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def hold(num_pixels: int) -> None:
        with budget.room() as room:
            room.take(num_pixels)
            with lock:
                held.append(min(num_pixels, 100))
                most.append(sum(held))
            time.sleep(0.005)
            with lock:
                held.remove(min(num_pixels, 100))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hold, [60, 30, 10, 100, 250, 1, 40] * 10))
    assert max(most) <= 100
    assert max(most) > 60


def test_room_is_given_back_after_an_image_that_can_not_be_decoded() -> None:
    for _ in range(3):
        with pytest.raises(ImageError):
            load_image(png_without_pixels(9_000, 9_000))
    with PIXELS.room() as room:
        room.take(PIXELS.total)


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
    data = encoded(Image.fromarray(rgba), "PNG")
    assert np.array_equal(np.asarray(load_image(data, as_stored=True)), rgba[:, :, :3])
    assert not np.array_equal(np.asarray(load_image(data)), rgba[:, :, :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    Image.fromarray(rgba[:, :, :3]).save(turned, "PNG", exif=exif)
    assert np.array_equal(np.asarray(load_image(turned.getvalue(), as_stored=True)), rgba[:, :, :3])
    assert load_image(turned.getvalue()).size == (6, 4)
    palette = Image.fromarray(rgba[:, :, :3]).quantize(8)
    stored = encoded(palette, "GIF", transparency=3)
    expected = Image.open(io.BytesIO(stored)).convert("RGB")
    assert np.array_equal(np.asarray(load_image(stored, as_stored=True)), np.asarray(expected))


def test_pil_images_have_the_same_pixel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    for source in (Image.new("RGB", (10, 11)), np.zeros((11, 10), np.uint8)):
        with pytest.raises(ImageError, match=r"10 x 11 = 110 pixels, at most 100"):
            load_image(source)
    assert load_image(Image.new("RGB", (5, 10))).size == (5, 10)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_a_truncated_file_is_an_error_that_names_it(file_format: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), file_format)
    path = tmp_path / f"half.{file_format.lower()}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=path.name):
        load_image(path)


# Pillow warns about some of the damage done here on purpose.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_flipped_bytes_give_an_image_or_an_image_error() -> None:
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    num_errors = 0
    for file_format in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "ICO"):
        good = encoded(noise, file_format, **({"exif": exif} if file_format in ("PNG", "JPEG", "WEBP") else {}))
        for _ in range(40):
            data = np.frombuffer(good, np.uint8).copy()
            data[random.integers(0, min(len(data), 200), 4)] = random.integers(0, 256, 4)
            try:
                assert load_image(data.tobytes()).mode == "RGB"
            except ImageError:
                num_errors += 1
    assert num_errors > 50


@pytest.mark.parametrize("data", [b"", b"hello", bytes(5000), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_bytes_that_are_no_image_are_refused_without_showing_them(data: bytes) -> None:
    with pytest.raises(ImageError, match=f"{len(data)} bytes.*not an image") as caught:
        load_image(data)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("source", [None, 3, [1, 2], object()])
def test_other_objects_are_refused_by_their_type(source: object) -> None:
    with pytest.raises(ImageError, match=type(source).__name__):
        load_image(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "description"),
    [
        ("cat.png", "'cat.png'"),
        (Path("cat.png"), "'cat.png'"),
        (b"12345", "<5 bytes>"),
        (np.zeros((2, 3), np.uint8), "array uint8 (2, 3)"),
        ("data:image/png;base64," + "A" * 9978, "<data URL image/png;base64 of 10000 characters>"),
        ("https://user:secret@example.org/a@b.png", "'https://example.org/a@b.png'"),
        ("x" * 1000, f"'{'x' * 60}'... (1000 characters)"),
        (Image.new("L", (1, 1)), "<Image>"),
    ],
)
def test_descriptions_are_short_and_keep_secrets(source: object, description: str) -> None:
    assert describe_source(source) == description
