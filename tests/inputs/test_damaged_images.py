"""Damaged files and other objects are refused, and described without their contents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_files import saved
from jina_embeddings.errors import ImageError
from jina_embeddings.inputs.decoding import describe_source
from jina_embeddings.inputs.sources import load_image


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_a_truncated_file_is_an_error_that_names_it(file_format: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), file_format)
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
        good = saved(noise, file_format, **({"exif": exif} if file_format in ("PNG", "JPEG", "WEBP") else {}))
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
