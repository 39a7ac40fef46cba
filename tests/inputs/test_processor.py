"""The processor: transformers' tokens and positions, spans, limits, and an error for each bad input."""

from __future__ import annotations

import base64
import enum
import inspect
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from inputs import SCRIPTS, SPECIAL, long_text, picture
from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint import Checkpoint, open_checkpoint
from jina_embeddings.checkpoint.tokenizer import load_tokenizer
from jina_embeddings.errors import EmptyInputError, ImageError, InputError, TextTooLongError
from jina_embeddings.inputs.patches import patchify, resized
from jina_embeddings.inputs.positions import positions
from jina_embeddings.inputs.processor import Processor, read_image_config
from jina_embeddings.inputs.prompts import IMAGE_TEMPLATE, PREFIXES
from jina_embeddings.inputs.sources import SourcePolicy
from jina_embeddings.types import Prepared

if TYPE_CHECKING:
    from conftest import CheckpointMaker

MAX_LENGTH = 1000
TOKEN_PIXELS = 28 * 28


@pytest.fixture(scope="module")
def opened(checkpoint: CheckpointMaker) -> Checkpoint:
    return open_checkpoint(checkpoint(dtype="float32"))


@pytest.fixture(scope="module")
def processor(opened: Checkpoint) -> Processor:
    return Processor.from_checkpoint(opened, max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def auto_tokenizer(opened: Checkpoint) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(opened.folder)


def one_text(processor: Processor, text: object, **options: Any) -> Prepared:
    (prepared,) = processor.texts([text], "retrieval", "query", **options)
    assert isinstance(prepared, Prepared), prepared
    return prepared


def one_image(processor: Processor, image: Any, **options: Any) -> Prepared:
    (prepared,) = processor.images([image], "retrieval", **options)
    assert isinstance(prepared, Prepared), prepared
    return prepared


# Texts


@pytest.mark.parametrize("text", [*SCRIPTS.values(), *SPECIAL.values()], ids=[*SCRIPTS, *SPECIAL])
@pytest.mark.parametrize("prompt_name", PREFIXES)
def test_tokens_are_those_of_transformers(
    processor: Processor, auto_tokenizer: Any, text: str, prompt_name: str
) -> None:
    (prepared,) = processor.texts([text], "code", prompt_name)
    assert isinstance(prepared, Prepared)
    assert prepared.token_ids.tolist() == auto_tokenizer(PREFIXES[prompt_name] + text).input_ids
    assert prepared.token_ids.dtype == np.int32
    assert prepared.spans == ((0, prepared.num_tokens),)
    assert prepared.task == "code"
    assert prepared.image is None


def test_the_rest_of_a_batch_does_not_change_the_tokens(processor: Processor) -> None:
    texts = [*SCRIPTS.values(), long_text(200), *SPECIAL.values()]
    for text, prepared in zip(texts, processor.texts(texts, "retrieval", "query"), strict=True):
        assert isinstance(prepared, Prepared)
        assert np.array_equal(prepared.token_ids, one_text(processor, text).token_ids)


class Word(str, enum.Enum):  # noqa: UP042 - whose str() is "Word.HELLO"
    HELLO = "hello"


@pytest.mark.parametrize("text", [Word.HELLO, np.str_("hello")], ids=["enum", "numpy"])
def test_a_subclass_of_str_is_embedded_by_its_characters(processor: Processor, text: str) -> None:
    expected = one_text(processor, "hello").token_ids
    assert one_text(processor, text).token_ids.tolist() == expected.tolist()
    chunked = processor.chunks([text, text], "retrieval", "query")
    assert chunked.token_ids.tolist() == processor.chunks(["hello", "hello"], "retrieval", "query").token_ids.tolist()


class CountingTokenizer:
    """A tokenizer that records the number of texts of each call."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.calls: list[int] = []

    def encode_batch_fast(self, texts: Sequence[str], **options: Any) -> Any:
        self.calls.append(len(texts))
        return self.tokenizer.encode_batch_fast(texts, **options)

    def token_to_id(self, token: str) -> int | None:
        return self.tokenizer.token_to_id(token)  # type: ignore[no-any-return]


def test_a_batch_is_one_call_of_the_tokenizer(opened: Checkpoint) -> None:
    tokenizer: Any = CountingTokenizer(load_tokenizer(opened.folder / "tokenizer.json"))
    processor = Processor(tokenizer, read_image_config(opened), MAX_LENGTH)
    processor.texts(["a", "", *SCRIPTS.values(), 3], "retrieval", "query")
    assert tokenizer.calls == [1 + len(SCRIPTS)]
    tokenizer.calls.clear()
    processor.chunks(["one", "two", "three"], "retrieval", "passage")
    assert tokenizer.calls == [4]
    tokenizer.calls.clear()
    processor.images([picture(28, 28)] * 3, "retrieval")
    processor.images([picture(56, 28)], "retrieval")
    assert tokenizer.calls == [1], "the image prompt is tokenised once"


def test_settings_in_the_tokenizer_file_do_not_cut_or_pad(opened: Checkpoint, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(opened.folder / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=512)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    changed = Processor(load_tokenizer(tmp_path / "tokenizer.json"), read_image_config(opened), MAX_LENGTH)
    plain = Processor(load_tokenizer(opened.folder / "tokenizer.json"), read_image_config(opened), MAX_LENGTH)
    for text in SCRIPTS.values():
        assert one_text(changed, text).token_ids.tolist() == one_text(plain, text).token_ids.tolist()


BAD_TEXTS: dict[str, tuple[object, type[InputError], str]] = {
    "nothing": ("", EmptyInputError, "empty"),
    "None": (None, InputError, "NoneType"),
    "a number": (3, InputError, "int"),
    "bytes": (b"text", InputError, "bytes"),
    "a list": (["text"], InputError, "list"),
    "not a number": (float("nan"), InputError, "float"),
    "half a character": ("fine until \ud83e", InputError, "character 11"),
    "the other half": ("\udd8a", InputError, "character 0"),
}


@pytest.mark.parametrize(("text", "kind", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_a_bad_text_is_an_error_in_its_place(
    processor: Processor, text: object, kind: type[InputError], message: str
) -> None:
    before, error, after = processor.texts(["before", text, "after"], "retrieval", "query")
    assert type(error) is kind
    assert message in str(error)
    for prepared, good in ((before, "before"), (after, "after")):
        assert isinstance(prepared, Prepared)
        assert prepared.token_ids.tolist() == one_text(processor, good).token_ids.tolist()


def test_each_bad_text_of_a_batch_is_an_error(processor: Processor) -> None:
    texts = [text for text, _, _ in BAD_TEXTS.values()]
    results = processor.texts(texts, "retrieval", "query")
    assert [type(result) for result in results] == [kind for _, kind, _ in BAD_TEXTS.values()]


@pytest.mark.parametrize(
    "text", ["\x00", "\u200b", ".", "\ufeff", " ", "\n\t\r\n", "\u3000\u00a0\u2003", "\v"], ids=ascii
)
def test_a_text_of_odd_characters_or_white_space_is_a_text(processor: Processor, text: str) -> None:
    assert one_text(processor, text).num_tokens > 2


# Length


@pytest.mark.parametrize("max_length", [1, 2, 7, 100, MAX_LENGTH - 1, MAX_LENGTH])
def test_a_long_text_is_cut_at_the_end(processor: Processor, auto_tokenizer: Any, max_length: int) -> None:
    text = long_text(1000)
    whole = auto_tokenizer("Query: " + text).input_ids
    assert len(whole) > MAX_LENGTH
    prepared = one_text(processor, text, max_length=max_length)
    assert prepared.token_ids.tolist() == whole[:max_length]
    assert prepared.spans == ((0, max_length),)


@pytest.mark.parametrize("max_length", [None, MAX_LENGTH + 1, 10**9])
def test_no_text_is_longer_than_the_model_allows(processor: Processor, max_length: int | None) -> None:
    assert one_text(processor, long_text(1000), max_length=max_length).num_tokens == MAX_LENGTH


def test_a_text_that_may_not_be_cut_is_an_error_with_both_numbers(processor: Processor) -> None:
    text = long_text(30)
    num_tokens = one_text(processor, text).num_tokens
    fits = one_text(processor, text, max_length=num_tokens, truncate=False)
    assert fits.num_tokens == num_tokens
    short, error = processor.texts(["a", text], "retrieval", "query", max_length=num_tokens - 1, truncate=False)
    assert isinstance(short, Prepared)
    assert isinstance(error, TextTooLongError)
    assert re.search(rf"\b{num_tokens} tokens\b.*\b{num_tokens - 1} fit\b", str(error))


@pytest.mark.parametrize("max_length", [0, -1, 1.5, 128.0, "128", True, [128]])
def test_an_invalid_max_length_is_refused(processor: Processor, max_length: Any) -> None:
    with pytest.raises(InputError, match="max_length"):
        processor.texts(["a"], "retrieval", "query", max_length=max_length)
    with pytest.raises(InputError, match="max_length"):
        processor.chunks(["a"], "retrieval", "query", max_length=max_length)


# Chunks


@pytest.mark.parametrize("prompt_name", ["query", "passage"])
def test_chunks_are_one_prompt_with_a_span_for_each(
    processor: Processor, auto_tokenizer: Any, prompt_name: str
) -> None:
    chunks = [*SCRIPTS.values(), "a", " with space before", "a"]
    prepared = processor.chunks(chunks, "code", prompt_name)
    prefix = auto_tokenizer(PREFIXES[prompt_name]).input_ids
    assert prepared.token_ids[: len(prefix)].tolist() == prefix
    assert prepared.spans[0][0] == len(prefix), "the prefix belongs to no chunk"
    assert prepared.spans[-1][1] == prepared.num_tokens
    for chunk, (start, stop) in zip(chunks, prepared.spans, strict=True):
        assert prepared.token_ids[start:stop].tolist() == auto_tokenizer(chunk).input_ids
    assert all(before[1] == after[0] for before, after in zip(prepared.spans, prepared.spans[1:], strict=False))
    assert prepared.token_ids.dtype == np.int32


@pytest.mark.parametrize(("text", "kind", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_a_bad_chunk_is_named_by_its_index(
    processor: Processor, text: object, kind: type[InputError], message: str
) -> None:
    with pytest.raises(kind, match=f"chunk 1: .*{message}"):
        processor.chunks(["fine", text], "retrieval", "query")


def test_chunks_that_do_not_fit_together_are_refused_with_both_numbers(processor: Processor) -> None:
    chunks = [long_text(20)] * 5
    num_tokens = processor.chunks(chunks, "retrieval", "query").num_tokens
    assert processor.chunks(chunks, "retrieval", "query", max_length=num_tokens).num_tokens == num_tokens
    with pytest.raises(TextTooLongError, match=rf"5 chunks have {num_tokens} tokens.* {num_tokens - 1} fit"):
        processor.chunks(chunks, "retrieval", "query", max_length=num_tokens - 1)


# Images

SIZES = [(28, 28), (400, 400), (120, 960), (960, 120), (31, 200), (4000, 3000), (1, 1), (10, 1900)]


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
    later = Processor(processor.tokenizer, processor.image_config, processor.max_length, resize_later=True)
    now, then = (one_image(p, picture(width, height)) for p in (processor, later))
    assert now.image is not None
    assert then.image is not None
    assert (then.image.grid, then.spans, then.token_ids.tolist()) == (now.image.grid, now.spans, now.token_ids.tolist())
    # Images far larger than needed are resized before they are sent.
    assert then.image.pixels.shape[:2] == (
        (height, width) if width * height <= 4 * 602_112 else now.image.pixels.shape[:2]
    )
    assert np.array_equal(resized(then.image.pixels, then.image.grid, later.image_config), now.image.pixels)


def test_images_of_equal_bytes_and_different_shapes_have_different_digests(processor: Processor) -> None:
    """Both images have the same bytes and are resized to the same grid."""
    later = Processor(processor.tokenizer, processor.image_config, processor.max_length, resize_later=True)
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


# Positions


@pytest.fixture(scope="module")
def qwen(opened: Checkpoint) -> Any:
    """transformers' model class, whose method computes positions; it has no weights."""
    from transformers import AutoModel, Qwen2_5_VLConfig

    with torch.device("meta"):
        return AutoModel.from_config(Qwen2_5_VLConfig.from_pretrained(opened.folder))


def positions_of_transformers(qwen: Any, prepared: Prepared) -> np.ndarray:
    ids = torch.from_numpy(prepared.token_ids.astype(np.int64))[None]
    options: dict[str, Any] = {"attention_mask": torch.ones_like(ids)}
    if prepared.image is not None:
        options["image_grid_thw"] = torch.tensor([prepared.image.grid])
    if "mm_token_type_ids" in inspect.signature(qwen.get_rope_index).parameters:
        options["mm_token_type_ids"] = (ids == qwen.config.image_token_id).int()
    places, _ = qwen.get_rope_index(ids, **options)
    return np.asarray(places[:, 0])


@pytest.mark.parametrize("text", ["a", SCRIPTS["latin"], long_text(50)])
def test_positions_of_a_text_are_those_of_transformers(processor: Processor, qwen: Any, text: str) -> None:
    prepared = one_text(processor, text)
    assert np.array_equal(positions(prepared, 2), positions_of_transformers(qwen, prepared))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_positions_of_an_image_are_those_of_transformers(
    processor: Processor, qwen: Any, width: int, height: int
) -> None:
    prepared = one_image(processor, picture(width, height))
    places = positions(prepared, 2)
    assert places.shape == (3, prepared.num_tokens)
    assert np.array_equal(places, positions_of_transformers(qwen, prepared))


# Patches

Grid = tuple[int, int, int]


def captured_patches(
    model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch, images: list[Image.Image]
) -> list[tuple[torch.Tensor, list[Grid]]]:
    """The patches that the torch engine passes to the model for each image."""
    network = model._engine._model  # type: ignore[attr-defined]
    features = network.image_features
    seen: list[tuple[torch.Tensor, list[Grid]]] = []

    def record(patches: torch.Tensor, grids: list[Grid]) -> Any:
        seen.append((patches.clone(), grids))
        return features(patches, grids)

    monkeypatch.setattr(network, "image_features", record)
    for image in images:
        model.encode_image(image)
    return seen


def test_the_engine_gets_the_patches_of_the_prepared_pixels(
    processor: Processor, torch_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture(28, 28), picture(120, 90), picture(90, 120)]
    seen = captured_patches(torch_model, monkeypatch, images)
    for image, (patches, grids) in zip(images, seen, strict=True):
        prepared = one_image(processor, image).image
        assert prepared is not None
        assert grids == [prepared.grid]
        assert np.array_equal(patches.numpy(), patchify(prepared.pixels, processor.image_config))


# Importing vLLM takes longer than all the rest of this file.
@pytest.mark.engine
def test_both_engines_get_the_same_patches(
    opened: Checkpoint, processor: Processor, torch_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vllm")
    from jina_embeddings.engine.vllm.requests import InputMaker

    images = [picture(28, 28), picture(400, 300), picture(4000, 3000)]
    seen = captured_patches(torch_model, monkeypatch, images)
    maker = InputMaker(read_image_config(opened))
    for image, (patches, grids) in zip(images, seen, strict=True):
        prepared = one_image(processor, image)
        assert prepared.image is not None
        prompt, _ = maker.make(prepared)
        (item,) = prompt["mm_kwargs"]["image"]
        assert torch.equal(item["pixel_values"].data, patches)
        assert item["image_grid_thw"].data.tolist() == list(grids[0])
        assert prompt["prompt_token_ids"] == prepared.token_ids.tolist()
        (place,) = prompt["mm_placeholders"]["image"]
        assert (place.offset, place.length) == (prepared.image.offset, prepared.image.num_tokens)
        assert prompt["mm_hashes"] == {"image": [prepared.image.digest]}
