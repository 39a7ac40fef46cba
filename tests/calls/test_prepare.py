"""Which inputs, task, prompt and limits of a call reach the engine."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from inputs import picture
from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import InputError, TextTooLongError, UnknownPromptError
from sample_calls import DIM, IMAGES, METHODS, TEXTS, name_of

if TYPE_CHECKING:
    from jina_embeddings.types import FloatArray, Prepared


def test_order_is_kept_whatever_the_lengths_and_kinds(fake_model: JinaEmbeddings) -> None:
    inputs: list[Any] = [("word " * length).strip() + f" {length}" for length in (1, 50, 3, 200, 2)]
    inputs[2:2] = IMAGES
    together = fake_model.encode(inputs)
    for vector, value in zip(together, inputs, strict=True):
        np.testing.assert_allclose(vector, fake_model.encode(value), atol=1e-6)
    assert np.array_equal(fake_model.encode(inputs[::-1]), together[::-1])


def test_equal_inputs_are_computed_once_and_returned_in_place() -> None:
    engine = FakeEngine()
    model = JinaEmbeddings(engine=engine)
    image = IMAGES[0]
    inputs: list[Any] = ["a", "b", "a", image, {"text": "b"}, np.asarray(image), "c", "a"]
    vectors = model.encode(inputs)
    assert engine.num_inputs == 4
    assert vectors.shape == (8, DIM)
    for i, j in itertools.combinations(range(8), 2):
        equal = {i, j} <= {0, 2, 7} or {i, j} <= {1, 4} or {i, j} <= {3, 5}
        assert np.array_equal(vectors[i], vectors[j]) == equal


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (TEXTS[0], ("encode_text", TEXTS[0])),
        ({"text": TEXTS[0]}, ("encode_text", TEXTS[0])),
        ("image.png", ("encode_text", "image.png")),
        ("https://example.com/image.png", ("encode_text", "https://example.com/image.png")),
        (IMAGES[0], ("encode_image", IMAGES[0])),
        (np.asarray(IMAGES[0]), ("encode_image", IMAGES[0])),
        ({"image": IMAGES[0]}, ("encode_image", IMAGES[0])),
    ],
    ids=lambda value: str(value)[:40],
)
def test_encode_tells_texts_from_images(fake_model: JinaEmbeddings, value: Any, same: tuple[str, Any]) -> None:
    method, plain = same
    expected = getattr(fake_model, method)(plain)
    assert np.array_equal(fake_model.encode(value), expected)
    assert np.array_equal(fake_model.encode([value, "more"])[0], expected)


def test_files_and_bytes_are_images(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    IMAGES[0].save(path)
    expected = fake_model.encode_image(IMAGES[0])
    encoded = io.BytesIO()
    IMAGES[0].save(encoded, "PNG")
    for value in (path, path.read_bytes(), {"image": str(path)}, {"image": encoded.getvalue()}):
        assert np.array_equal(fake_model.encode(value), expected)
    for source in (path, str(path), path.read_bytes()):
        assert np.array_equal(fake_model.encode_image(source), expected)


@pytest.mark.parametrize(
    "value", [3, None, 2.5, ["nested"], {}, {"text": "a", "image": IMAGES[0]}, {"txt": "a"}, {"text": 3}], ids=name_of
)
def test_a_value_that_is_neither_text_nor_image_is_named(fake_model: JinaEmbeddings, value: Any) -> None:
    with pytest.raises(InputError, match="input 1: "):
        fake_model.encode(["a", value, "b"])
    result = fake_model.encode(["a", value, "b"], on_error="skip")
    assert result.kept == [0, 2]
    assert [skipped.index for skipped in result.skipped] == [1]


@pytest.mark.parametrize("texts", [None, 5, b"text", {"text": "a"}, 2.5], ids=str)
def test_values_that_are_no_list_of_texts_are_input_errors(fake_model: JinaEmbeddings, texts: Any) -> None:
    with pytest.raises(InputError, match="texts"):
        fake_model.encode_text(texts)


def test_tasks_and_prompts_give_their_own_vectors(fake_model: JinaEmbeddings) -> None:
    def encode(**options: Any) -> Any:
        return fake_model.encode_text("a text", **options)

    kinds = [(task, prompt) for task in ("retrieval", "code") for prompt in ("query", "passage", "code")]
    vectors = [encode(task=task, prompt_name=prompt) for task, prompt in [*kinds, ("text-matching", "query")]]
    assert len(np.unique(vectors, axis=0)) == len(kinds) + 1
    for task, prompt in kinds[:2] + kinds[3:5]:
        assert np.array_equal(encode(task=f"{task}.{prompt}"), encode(task=task, prompt_name=prompt))
    assert np.array_equal(encode(task="text-matching", prompt_name="passage"), encode(task="text-matching"))
    assert np.array_equal(encode(), encode(task="retrieval", prompt_name="query"))


@pytest.mark.parametrize("task", TASKS)
def test_the_models_own_task_is_used_where_a_call_names_none(fake_model: JinaEmbeddings, task: str) -> None:
    with JinaEmbeddings(engine="fake", task=task) as model:
        assert model.task == task
        for method, inputs in METHODS.values():
            expected = getattr(fake_model, method)(inputs, task=task)
            assert np.array_equal(getattr(model, method)(inputs), expected)


@pytest.mark.parametrize("task", ["retrieval.passage", "code.passage", "code.query"])
def test_the_prompt_in_the_models_own_task_is_used_too(fake_model: JinaEmbeddings, task: str) -> None:
    """If the prompt were ignored, a corpus would be embedded as queries."""
    with JinaEmbeddings(engine="fake", task=task) as model:
        assert np.array_equal(model.encode_text("a text"), fake_model.encode_text("a text", task=task))
        assert np.array_equal(model.encode(["a text"]), fake_model.encode(["a text"], task=task))


def test_options_of_a_call_reach_the_engine(fake_model: JinaEmbeddings) -> None:
    class Recording(FakeEngine):
        batch_sizes: list[int | None]

        def run(
            self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
        ) -> list[FloatArray]:
            self.batch_sizes.append(batch_size)
            self.pooling = {item.pooling for item in batch}
            return super().run(batch, batch_size=batch_size)

    engine = Recording()
    engine.batch_sizes = []
    model = JinaEmbeddings(engine=engine)
    for method, inputs in METHODS.values():
        getattr(model, method)(inputs, batch_size=7)
        asyncio.run(getattr(model, f"a{method}")(inputs, batch_size=7))
        getattr(model, method)(inputs)
    assert engine.batch_sizes == [7, 7, None] * 3
    assert engine.pooling == {"mean"}


def test_the_pooling_of_the_model_reaches_the_engine() -> None:
    seen: set[str] = set()

    class Recording(FakeEngine):
        def run(
            self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
        ) -> list[FloatArray]:
            seen.update(item.pooling for item in batch)
            return super().run(batch, batch_size=batch_size)

    model = JinaEmbeddings(engine=Recording(), pooling_type="LAST")
    model.encode(METHODS["mixed"][1])
    assert seen == {"last"}


def test_long_texts_are_cut_or_refused(fake_model: JinaEmbeddings) -> None:
    text = "w " * 50
    assert fake_model.encode_text(text, return_multivector=True).shape[0] == 51
    assert fake_model.encode_text(text, return_multivector=True, max_length=20).shape[0] == 20
    assert fake_model.encode(text, return_multivector=True, max_length=20).shape[0] == 20
    for encode in (fake_model.encode_text, fake_model.encode):
        with pytest.raises(TextTooLongError, match=r"input 1: .*51 tokens, 50 fit"):
            encode(["short", text], max_length=50, truncate=False)
    with JinaEmbeddings(engine="fake", max_model_len=30) as model:
        assert model.encode_text(text, return_multivector=True).shape[0] == 30


def test_images_are_bounded_by_the_call_and_by_the_model(fake_model: JinaEmbeddings) -> None:
    image, four_tokens = picture(400, 400), 4 * 28 * 28
    for encode in (fake_model.encode_image, fake_model.encode):
        assert len(encode(image, return_multivector=True)) > 100
        assert len(encode(image, return_multivector=True, max_pixels=four_tokens)) < 20
    with JinaEmbeddings(engine="fake", max_pixels=four_tokens) as model:
        assert len(model.encode_image(image, return_multivector=True)) < 20


@pytest.mark.parametrize("how", ["buffer", "open file"])
def test_an_open_file_is_one_image_for_every_method(fake_model: JinaEmbeddings, tmp_path: Path, how: str) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", (56, 56), "red").save(path)
    expected = fake_model.encode_image(path)

    def opened() -> Any:
        return io.BytesIO(path.read_bytes()) if how == "buffer" else path.open("rb")

    assert np.array_equal(fake_model.encode_image(opened()), expected)
    assert np.array_equal(fake_model.encode(opened()), expected)
    assert np.array_equal(fake_model.encode(["a text", opened()])[1], expected)
    assert np.array_equal(fake_model.encode({"image": opened()}), expected)


def test_an_empty_prompt_name_is_no_prompt_name(fake_model: JinaEmbeddings) -> None:
    for task in (None, "retrieval", "retrieval.query", "text-matching"):
        with pytest.raises(UnknownPromptError):
            fake_model.encode_text("a text", task=task, prompt_name="")
