"""Encoded images."""

from __future__ import annotations

import io

from PIL import Image

COLOUR = (12, 34, 56)


def encoded(file_format: str, *colours: tuple[int, int, int]) -> bytes:
    images = [Image.new("RGB", (16, 8), colour) for colour in colours or (COLOUR,)]
    buffer = io.BytesIO()
    options = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
    images[0].save(buffer, file_format, **options)
    return buffer.getvalue()


PNG = encoded("PNG")


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def is_right(image: Image.Image) -> bool:
    return (image.mode, image.size, image.getpixel((3, 3))) == ("RGB", (16, 8), COLOUR)
