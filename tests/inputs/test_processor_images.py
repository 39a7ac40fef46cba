"""`Processor`: prompts, sizes and digests of images."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from inputs import picture
from jina_embeddings.checkpoint import Checkpoint
from jina_embeddings.errors import ImageError, InputError
from jina_embeddings.inputs.patches import resized
from jina_embeddings.inputs.processor import Processor
from jina_embeddings.inputs.prompts import IMAGE_TEMPLATE
from jina_embeddings.inputs.sources import SourcePolicy
from jina_embeddings.types import Prepared
from prepared import MAX_LENGTH, SIZES, one_image

if TYPE_CHECKING:
    pass


TOKEN_PIXELS = 28 * 28


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_image_prompt_is_the_template_with_a_pad_for_each_merged_patch(
    processor: Processor, auto_tokenizer: Any, width: int, height: int
) -> None:
    prepared = one_image(processor, picture(width, height))
    image = prepared.image
    assert image is not None
    frames, rows, columns = image.grid
    assert frames == 1
    assert image.num_tokens == rows * columns // 4
    assert image.pixels.shape == (14 * rows, 14 * columns, 3)
    assert image.pixels.dtype == np.uint8

    repeated = IMAGE_TEMPLATE.replace("<|image_pad|>", "<|image_pad|>" * image.num_tokens)
    assert prepared.token_ids.tolist() == auto_tokenizer(repeated).input_ids
    assert prepared.token_ids.dtype == np.int32
    inside = auto_tokenizer.convert_ids_to_tokens(prepared.token_ids.tolist())
    assert image.offset == inside.index("<|image_pad|>")
    ((start, stop),) = prepared.spans
    assert inside[start] == "<|vision_start|>"
    assert inside[stop - 1] == "<|vision_end|>"
    assert set(inside[start + 1 : stop - 1]) == {"<|image_pad|>"}


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_image_that_is_resized_later_becomes_the_same(processor: Processor, width: int, height: int) -> None:
    later = Processor(processor.tokenizer, processor.image_config, processor.max_length, resize_later=1)
    now, then = (one_image(p, picture(width, height)) for p in (processor, later))
    assert now.image is not None
    assert then.image is not None
    assert (then.image.grid, then.spans, then.token_ids.tolist()) == (now.image.grid, now.spans, now.token_ids.tolist())
    # Images far larger than needed are resized before they are sent.
    assert then.image.pixels.shape[:2] == (
        (height, width) if width * height <= 4 * 602_112 else now.image.pixels.shape[:2]
    )
    assert np.array_equal(resized(then.image.pixels, then.image.grid, later.image_config), now.image.pixels)


def test_larger_calls_than_the_engine_resizes_are_resized_here(processor: Processor) -> None:
    later = Processor(processor.tokenizer, processor.image_config, processor.max_length, resize_later=1)
    image = picture(300, 200)
    alone, *several = [*later.images([image], "retrieval"), *later.images([image, image], "retrieval")]
    shapes = [one.image.pixels.shape[:2] for one in (alone, *several) if isinstance(one, Prepared) and one.image]
    assert shapes == [(200, 300), (196, 308), (196, 308)]


def test_images_of_equal_bytes_and_different_shapes_have_different_digests(processor: Processor) -> None:
    """Both images have the same bytes and are resized to the same grid."""
    later = Processor(processor.tokenizer, processor.image_config, processor.max_length, resize_later=1)
    stripes = np.arange(3000, dtype=np.uint8).repeat(3)
    pictures = [stripes.reshape(shape) for shape in ((60, 50, 3), (50, 60, 3))]
    first, second = (one_image(later, pixels).image for pixels in pictures)
    assert first is not None
    assert second is not None
    assert first.grid == second.grid
    assert first.digest != second.digest
    again = one_image(later, pictures[0]).image
    assert again is not None
    assert again.digest == first.digest


def test_images_are_read_by_the_processors_policy_and_reading(processor: Processor, tmp_path: Path) -> None:
    path = tmp_path / "seen.png"
    Image.new("RGBA", (56, 56), (255, 0, 0, 0)).save(path)
    stored = processor.reading(SourcePolicy(paths=False), as_stored=True)
    shown, red = one_image(processor, path).image, one_image(stored, path.read_bytes()).image
    assert shown is not None
    assert red is not None
    assert shown.pixels.min() == 255
    assert red.pixels[0, 0].tolist() == [255, 0, 0]
    (refused,) = stored.images([path], "retrieval")
    assert isinstance(refused, ImageError)


@pytest.mark.parametrize("max_pixels", [TOKEN_PIXELS, 4 * TOKEN_PIXELS, 100_000])
def test_max_pixels_limits_the_resized_image(processor: Processor, max_pixels: int) -> None:
    for width, height in ((400, 300), (28, 28)):
        image = one_image(processor, picture(width, height), max_pixels=max_pixels).image
        assert image is not None
        rows, columns, _ = image.pixels.shape
        assert 0 < rows * columns <= max_pixels


def test_bounds_given_to_the_model_replace_the_checkpoints(opened: Checkpoint) -> None:
    bounded = Processor.from_checkpoint(
        opened, max_length=MAX_LENGTH, min_pixels=9 * TOKEN_PIXELS, max_pixels=16 * TOKEN_PIXELS
    )
    for width, height in SIZES[:5]:
        prepared = one_image(bounded, picture(width, height)).image
        assert prepared is not None
        assert 9 <= prepared.num_tokens <= 16


@pytest.mark.parametrize("max_pixels", [0, -5, TOKEN_PIXELS - 1, "5000", 5000.5, True])
def test_impossible_pixel_bounds_are_refused(processor: Processor, max_pixels: Any) -> None:
    with pytest.raises(InputError, match="max_pixels"):
        processor.images([picture(28, 28)], "retrieval", max_pixels=max_pixels)


def test_an_image_that_needs_too_many_tokens_says_which_bound_would_do(opened: Checkpoint) -> None:
    narrow = Processor.from_checkpoint(opened, max_length=60)
    image = picture(400, 400)
    (error,) = narrow.images([image], "retrieval")
    assert isinstance(error, ImageError)
    found = re.search(r"needs (\d+) tokens, 60 fit: lower max_pixels to (\d+)", str(error))
    assert found is not None
    assert int(found[1]) == one_image(Processor.from_checkpoint(opened, max_length=MAX_LENGTH), image).num_tokens
    prepared = one_image(narrow, image, max_pixels=int(found[2]))
    assert prepared.num_tokens <= 60
    (still,) = narrow.images([image], "retrieval", max_pixels=int(found[2]) + 9 * TOKEN_PIXELS)
    assert isinstance(still, ImageError), "the bound is no lower than it has to be"


def test_without_a_bound_that_fits_none_is_advised(opened: Checkpoint) -> None:
    tiny = Processor.from_checkpoint(opened, max_length=4)
    (error,) = tiny.images([picture(28, 28)], "retrieval")
    assert isinstance(error, ImageError)
    assert "max_model_len" in str(error)
    assert not re.search(r"max_pixels to -?\d", str(error))


def test_a_bad_image_is_an_error_in_its_place(processor: Processor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    sources: list[Any] = [picture(28, 28), broken, tmp_path / "missing.png", None, picture(1, 500), picture(56, 28)]
    results = processor.images(sources, "retrieval")
    assert [isinstance(result, Prepared) for result in results] == [True, False, False, False, False, True]
    assert all(isinstance(result, ImageError) for result in results[1:5])


def test_the_digest_depends_on_the_images_content(processor: Processor, tmp_path: Path) -> None:
    image = picture(60, 90)
    image.save(tmp_path / "image.png")
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    sources = [image, np.asarray(image), tmp_path / "image.png", encoded.getvalue()]
    sources.append(base64.b64encode(encoded.getvalue()).decode())
    prepared = [one_image(processor, source).image for source in sources]
    assert len({image.digest for image in prepared if image is not None}) == 1

    changed = np.array(image)
    changed[45, 30] ^= 255
    flat = [Image.new("RGB", size) for size in ((56, 84), (84, 56))]
    others = [one_image(processor, other).image for other in (changed, image.rotate(180), *flat)]
    digests = {image.digest for image in (prepared[0], *others) if image is not None}
    assert len(digests) == 5, "equal bytes of another shape are another image"
