"""`JinaEmbeddings` as its users meet it: forms of results, errors, threads, asyncio, closing."""

from __future__ import annotations

import asyncio
import inspect
import io
import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from inputs import picture
from jina_embeddings import TASKS, JinaEmbeddings, Partial
from jina_embeddings import embedder as module
from jina_embeddings.calls.job import Job
from jina_embeddings.engine import choice as engines
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import (
    CheckpointError,
    DependencyError,
    DimensionError,
    EmptyInputError,
    EngineClosedError,
    EngineDeadError,
    EngineUnavailableError,
    ImageError,
    InputError,
    JinaEmbeddingsError,
    NonFiniteError,
    OptionError,
    TaskUnavailableError,
    TextTooLongError,
    UnknownPromptError,
    UnknownTaskError,
)
from jina_embeddings.inputs.processor import Processor
from jina_embeddings.vectors.quantization import EMBEDDING_TYPES

if TYPE_CHECKING:
    from conftest import CheckpointMaker

    from jina_embeddings.types import FloatArray, Prepared

TEXTS = ["one text", "another one", "and a third, longer than the others"]
IMAGES = [picture(56, 28, 1), picture(28, 84, 2)]
DIM, TOKEN_DIM = 2048, 128


def model_on(engine: FakeEngine) -> JinaEmbeddings:
    """The fake model with an engine that misbehaves in one way."""
    return JinaEmbeddings(engine=engine)


def fake_engine(model: JinaEmbeddings) -> FakeEngine:
    assert isinstance(model._engine, FakeEngine)
    return model._engine


METHODS: dict[str, tuple[str, list[Any]]] = {
    "text": ("encode_text", TEXTS),
    "image": ("encode_image", IMAGES),
    "mixed": ("encode", [TEXTS[0], IMAGES[0], TEXTS[1]]),
}


# Forms of results


@pytest.mark.parametrize(("method", "inputs"), METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("embedding_type", EMBEDDING_TYPES)
@pytest.mark.parametrize("truncate_dim", [None, 128, DIM])
@pytest.mark.parametrize("return_numpy", [True, False])
def test_forms_of_dense_results(
    fake_model: JinaEmbeddings,
    method: str,
    inputs: list[Any],
    embedding_type: str,
    truncate_dim: int | None,
    return_numpy: bool,
) -> None:
    options = {"embedding_type": embedding_type, "truncate_dim": truncate_dim, "return_numpy": return_numpy}
    encode = getattr(fake_model, method)
    if embedding_type == "base64" and not return_numpy:
        with pytest.raises(OptionError, match="base64"):
            encode(inputs, **options)
        return
    several, in_a_tuple, alone = (
        encode(inputs, **options),
        encode(tuple(inputs), **options),
        encode(inputs[0], **options),
    )
    skipping = encode(inputs, on_error="skip", **options)
    if embedding_type == "base64":
        assert isinstance(alone, str)
        assert several == in_a_tuple == skipping.embeddings
        assert several[0] == alone
        return
    dim = (truncate_dim or DIM) // (8 if "binary" in embedding_type else 1)
    dtype = {"float": "float32", "ubinary": "uint8"}.get(embedding_type, "int8")
    for result in (several, in_a_tuple, skipping.embeddings):
        assert isinstance(result, np.ndarray if return_numpy else list)
        assert len(result) == len(inputs)
        for row in result:
            assert (tuple(row.shape), str(row.dtype).removeprefix("torch.")) == ((dim,), dtype)
    assert isinstance(alone, np.ndarray if return_numpy else torch.Tensor)
    assert np.array_equal(np.asarray(alone), np.asarray(several[0]))


@pytest.mark.parametrize(("method", "inputs"), METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize("embedding_type", ["float", "int8", "binary", "ubinary"])
@pytest.mark.parametrize("return_numpy", [True, False])
def test_forms_of_multivector_results(
    fake_model: JinaEmbeddings, method: str, inputs: list[Any], embedding_type: str, return_numpy: bool
) -> None:
    options = {"return_multivector": True, "embedding_type": embedding_type, "return_numpy": return_numpy}
    encode = getattr(fake_model, method)
    several, alone = encode(inputs, **options), encode(inputs[0], **options)
    kind = np.ndarray if return_numpy else torch.Tensor
    width = TOKEN_DIM // (8 if "binary" in embedding_type else 1)
    assert isinstance(several, list)
    assert len(several) == len(inputs)
    for rows in (*several, alone, *encode(inputs, on_error="skip", **options).embeddings):
        assert isinstance(rows, kind)
        assert rows.ndim == 2
        assert rows.shape[1] == width
    assert np.array_equal(np.asarray(alone), np.asarray(several[0]))


def test_a_multivector_has_a_row_for_every_token(fake_model: JinaEmbeddings) -> None:
    rows = fake_model.encode_text("three words here", return_multivector=True)
    assert rows.shape == (1 + 3, TOKEN_DIM)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_dense_vectors_have_length_one_unless_asked_otherwise(fake_model: JinaEmbeddings) -> None:
    for dim in (None, 128):
        vectors = fake_model.encode(METHODS["mixed"][1], truncate_dim=dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    with JinaEmbeddings(engine="fake", normalize=False) as model:
        raw = model.encode_text(TEXTS)
    assert (np.abs(np.linalg.norm(raw, axis=1) - 1) > 0.1).all()
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1)[:, None], fake_model.encode_text(TEXTS), atol=1e-6)


def test_late_chunking_gives_a_vector_for_each_chunk(fake_model: JinaEmbeddings) -> None:
    vectors = fake_model.encode_text(TEXTS, late_chunking=True, truncate_dim=256)
    assert vectors.shape == (3, 256)
    assert fake_model.encode_text(TEXTS[:1], late_chunking=True).shape == (1, DIM)
    assert len(fake_model.encode_text(TEXTS, late_chunking=True, embedding_type="base64")) == 3


@pytest.mark.parametrize(
    "make", [tuple, iter, lambda texts: (text for text in texts), np.array], ids=["tuple", "iter", "generator", "array"]
)
def test_texts_may_come_in_any_iterable(fake_model: JinaEmbeddings, make: Callable[[list[str]], Any]) -> None:
    expected = fake_model.encode_text(TEXTS)
    assert np.array_equal(fake_model.encode_text(make(TEXTS)), expected)
    assert fake_model.encode_text(make(TEXTS[:1])).shape == (1, DIM)
    assert np.array_equal(
        fake_model.encode_text(make(TEXTS), late_chunking=True), fake_model.encode_text(TEXTS, late_chunking=True)
    )


def test_positional_arguments_are_those_of_the_published_model() -> None:
    def positional(function: Callable[..., Any]) -> list[str]:
        parameters = inspect.signature(function).parameters.values()
        return [parameter.name for parameter in parameters if parameter.kind == parameter.POSITIONAL_OR_KEYWORD][1:]

    assert positional(JinaEmbeddings.encode_text) == [
        "texts",
        "task",
        "max_length",
        "batch_size",
        "return_multivector",
        "return_numpy",
        "truncate_dim",
        "prompt_name",
    ]
    assert positional(JinaEmbeddings.encode_image) == [
        "images",
        "task",
        "batch_size",
        "return_multivector",
        "return_numpy",
        "truncate_dim",
        "max_pixels",
    ]


# Which input, which task


def test_order_is_kept_whatever_the_lengths_and_kinds(fake_model: JinaEmbeddings) -> None:
    inputs: list[Any] = [("word " * length).strip() + f" {length}" for length in (1, 50, 3, 200, 2)]
    inputs[2:2] = IMAGES
    together = fake_model.encode(inputs)
    for vector, value in zip(together, inputs, strict=True):
        np.testing.assert_allclose(vector, fake_model.encode(value), atol=1e-6)
    assert np.array_equal(fake_model.encode(inputs[::-1]), together[::-1])


def test_equal_inputs_are_computed_once_and_returned_in_place(fake_model: JinaEmbeddings) -> None:
    image = IMAGES[0]
    inputs: list[Any] = ["a", "b", "a", image, {"text": "b"}, np.asarray(image), "c", "a"]
    vectors = fake_model.encode(inputs)
    assert fake_engine(fake_model).num_inputs == 4
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
    "value", [3, None, 2.5, ["nested"], {}, {"text": "a", "image": IMAGES[0]}, {"txt": "a"}, {"text": 3}], ids=str
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
    model = model_on(engine)
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


# Bad inputs


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("method", ["encode_text", "encode_image", "encode"])
def test_no_inputs_at_all_are_an_error(fake_model: JinaEmbeddings, method: str, on_error: str) -> None:
    with pytest.raises(EmptyInputError):
        getattr(fake_model, method)([], on_error=on_error)


@pytest.mark.parametrize("late_chunking", [False, True])
def test_no_texts_at_all_are_an_error(fake_model: JinaEmbeddings, late_chunking: bool) -> None:
    with pytest.raises(EmptyInputError):
        fake_model.encode_text([], late_chunking=late_chunking)


def test_the_first_bad_input_is_raised_and_nothing_runs(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    with pytest.raises(EmptyInputError, match="input 2: "):
        fake_model.encode_text(["a", "b", "", None])  # type: ignore[list-item]
    with pytest.raises(ImageError, match=r"input 1: .*missing\.png"):
        fake_model.encode_image([IMAGES[0], tmp_path / "missing.png"])
    with pytest.raises(ImageError, match=r"input 3: .*missing\.png"):
        fake_model.encode(["a", IMAGES[0], "b", tmp_path / "missing.png", ""])
    assert fake_engine(fake_model).num_inputs == 0


def test_skipped_inputs_keep_their_place_among_kinds(fake_model: JinaEmbeddings, tmp_path: Path) -> None:
    inputs: list[Any] = ["", "a", tmp_path / "missing.png", IMAGES[0], 3, "b", ""]
    result = fake_model.encode(inputs, on_error="skip")
    assert isinstance(result, Partial)
    assert result.kept == [1, 3, 5]
    assert [(skipped.index, type(skipped.error)) for skipped in result.skipped] == [
        (0, EmptyInputError),
        (2, ImageError),
        (4, InputError),
        (6, EmptyInputError),
    ]
    assert np.array_equal(result.embeddings, fake_model.encode(["a", IMAGES[0], "b"]))


def test_a_single_bad_input_can_be_skipped_as_well(fake_model: JinaEmbeddings) -> None:
    result = fake_model.encode_text("", on_error="skip")
    assert (result.kept, len(result.skipped)) == ([], 1)
    assert result.embeddings.shape == (0, DIM)
    assert fake_model.encode_text("a", on_error="skip").embeddings.shape == (1, DIM)
    assert len(fake_model.encode_text(["", ""], on_error="skip", return_multivector=True).embeddings) == 0


class NotANumber(FakeEngine):
    """An engine that returns NaN for texts with the word `poison`."""

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        outputs = super().run(batch, batch_size=batch_size)
        poison = JinaEmbeddings(engine="fake")._preparer._processor.tokenize(["poison"])[0][0]
        for prepared, output in zip(batch, outputs, strict=True):
            if poison in prepared.token_ids:
                output[-1, 5] = np.nan
        return outputs


@pytest.mark.parametrize("multivector", [False, True])
def test_nan_is_never_returned_as_a_vector(multivector: bool) -> None:
    model = model_on(NotANumber())
    texts = ["good", "poison", "better", "poison", ""]
    with pytest.raises(NonFiniteError, match="input 1: "):
        model.encode_text(texts[:4], return_multivector=multivector)
    with pytest.raises(NonFiniteError):
        asyncio.run(model.aencode_text("poison", return_multivector=multivector))
    with pytest.raises(NonFiniteError):
        model.encode_text(["good", "poison"], late_chunking=True)
    result = model.encode_text(texts, return_multivector=multivector, on_error="skip")
    assert result.kept == [0, 2]
    assert [(skipped.index, type(skipped.error)) for skipped in result.skipped] == [
        (1, NonFiniteError),
        (3, NonFiniteError),
        (4, EmptyInputError),
    ]
    assert all(np.isfinite(vector).all() for vector in result.embeddings)


# Wrong arguments


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"task": "retreival"}, UnknownTaskError, "did you mean 'retrieval'"),
        ({"prompt_name": "pasage"}, UnknownPromptError, "did you mean 'passage'"),
        ({"task": "retrieval.query", "prompt_name": "passage"}, UnknownPromptError, "passage"),
        ({"embedding_type": "int4"}, OptionError, "did you mean 'int8'"),
        ({"on_error": "ignore"}, OptionError, "'ignore'"),
        ({"batch_size": 0}, OptionError, "batch_size"),
        ({"batch_size": -1}, OptionError, "batch_size"),
        ({"batch_size": 2.0}, OptionError, "batch_size"),
        ({"batch_size": "8"}, OptionError, "batch_size"),
        ({"batch_size": True}, OptionError, "batch_size"),
        ({"max_length": 0}, InputError, "max_length"),
        ({"return_multivector": True, "truncate_dim": 128}, DimensionError, "truncate_dim"),
    ],
    ids=str,
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_wrong_argument_is_an_error_and_never_skipped(
    fake_model: JinaEmbeddings, options: dict[str, Any], kind: type[Exception], message: str, on_error: str
) -> None:
    options = {"on_error": on_error, **options}
    for method in ("encode_text", "encode"):
        with pytest.raises(kind, match=message):
            getattr(fake_model, method)(TEXTS, **options)
        with pytest.raises(kind, match=message):
            asyncio.run(getattr(fake_model, f"a{method}")(TEXTS, **options))
    assert fake_engine(fake_model).num_inputs == 0


@pytest.mark.parametrize("truncate_dim", [0, -128, 100, 4096, "128", 128.0, True, [128]], ids=repr)
def test_a_dimension_that_the_model_was_not_trained_for_is_refused_with_the_list(
    fake_model: JinaEmbeddings, truncate_dim: Any
) -> None:
    for method, inputs in METHODS.values():
        with pytest.raises(DimensionError, match="128, 256, 512, 1024, 2048"):
            getattr(fake_model, method)(inputs, truncate_dim=truncate_dim)
    assert fake_engine(fake_model).num_inputs == 0


@pytest.mark.parametrize("method", ["encode_text", "encode_image", "encode"])
def test_an_argument_that_does_not_exist_is_a_type_error_that_names_it(fake_model: JinaEmbeddings, method: str) -> None:
    with pytest.raises(TypeError, match="normalise"):
        getattr(fake_model, method)(["a"], normalise=True)
    with pytest.raises(TypeError, match="normalise"):
        asyncio.run(getattr(fake_model, f"a{method}")(["a"], normalise=True))


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        ("one text", {}),
        (TEXTS, {"return_multivector": True}),
        (TEXTS, {"on_error": "skip"}),
    ],
)
def test_late_chunking_refuses_what_it_can_not_do(
    fake_model: JinaEmbeddings, texts: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="late_chunking"):
        fake_model.encode_text(texts, late_chunking=True, **options)


def test_late_chunking_names_what_is_wrong(fake_model: JinaEmbeddings) -> None:
    with pytest.raises(EmptyInputError, match="chunk 1"):
        fake_model.encode_text(["a", ""], late_chunking=True)
    with pytest.raises(TextTooLongError, match="3 chunks"):
        fake_model.encode_text(TEXTS, late_chunking=True, max_length=5)


# Loading


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"engine": "vlm"}, OptionError, "did you mean 'vllm'"),
        ({"engine": "onnx"}, OptionError, "'auto', 'vllm', 'torch', 'transformers', 'fake'"),
        ({"engine": None}, OptionError, "'auto'"),
        ({"task": "retreival"}, UnknownTaskError, "did you mean 'retrieval'"),
        ({"max_len": 3}, OptionError, "did you mean 'max_model_len'"),
        ({"pooling_type": "maen"}, OptionError, "did you mean 'mean'"),
        ({"merge_adapter": "retreival"}, UnknownTaskError, "did you mean 'retrieval'"),
    ],
    ids=str,
)
def test_a_model_with_a_wrong_argument_is_refused(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        JinaEmbeddings(**{"engine": "fake", **options})


def test_the_fake_engine_refuses_other_tasks_as_the_others_do() -> None:
    with JinaEmbeddings(engine="fake", merge_adapter="code") as model:
        assert model.info.tasks == ("code",)
        assert model.task == "code"
        with pytest.raises(TaskUnavailableError, match="code, not 'retrieval'"):
            model.encode_text("a", task="retrieval")


def test_a_default_task_that_merging_excludes_is_refused_at_once(checkpoint: CheckpointMaker) -> None:
    with pytest.raises(TaskUnavailableError, match="retrieval"):
        JinaEmbeddings(checkpoint(), engine="transformers", merge_adapter="code", task="retrieval")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[FakeEngine]:
    """Replaces `load_engine` by one that starts fake engines, and returns them."""
    engines: list[FakeEngine] = []

    def start(*_: object) -> FakeEngine:
        engines.append(FakeEngine())
        return engines[-1]

    monkeypatch.setattr(module, "load_engine", start)
    return engines


@pytest.mark.parametrize("spoil", ["pooling_type", "tokenizer.json", "preprocessor_config.json", "max_pixels"])
def test_what_fails_while_loading_leaves_no_engine_running(
    checkpoint: CheckpointMaker, tmp_path: Path, started: list[FakeEngine], spoil: str
) -> None:
    folder = checkpoint()
    options: dict[str, Any] = {}
    if spoil.endswith(".json"):
        folder = Path(shutil.copytree(folder, tmp_path / "damaged"))
        (folder / spoil).write_text("{")
    else:
        options = {spoil: {"pooling_type": "nonsense", "max_pixels": 5}[spoil]}
    with pytest.raises(JinaEmbeddingsError):
        JinaEmbeddings(folder, engine="transformers", **options)
    for engine in started:
        with pytest.raises(EngineClosedError):
            engine.run([])


@pytest.mark.parametrize("task", ["code", "code.query"])
def test_one_task_can_be_merged_by_either_spelling(checkpoint: CheckpointMaker, task: str) -> None:
    with JinaEmbeddings(checkpoint(), engine="transformers", merge_adapter=task) as model:
        assert model.info.tasks == ("code",)
        assert model.encode_text("a").shape == (128,)


@pytest.mark.parametrize(
    ("installed", "cuda", "chosen"),
    [(True, True, "vllm"), (True, False, "torch"), (False, True, "torch")],
)
def test_auto_is_vllm_where_it_can_run_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, installed: bool, cuda: bool, chosen: str
) -> None:
    monkeypatch.setattr(engines, "_installed", lambda _: installed)
    monkeypatch.setattr(engines, "_has_cuda", lambda: cuda)
    assert engines.choose_engine("auto") == chosen
    assert engines.choose_engine("transformers") == "transformers"


def test_without_vllm_the_vllm_engine_is_an_error_and_no_other_is_chosen(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_installed", lambda _: False)
    with pytest.raises(EngineUnavailableError, match="pip install"):
        JinaEmbeddings(checkpoint(), engine="vllm")


def test_a_missing_package_is_named_with_its_install_command(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "jina_embeddings.engine.transformers", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyError, match="pip install transformers"):
        JinaEmbeddings(checkpoint(), engine="transformers")


def test_a_missing_model_is_an_error_and_no_other_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        JinaEmbeddings(tmp_path / "nowhere", engine="transformers")


# asyncio

CALLS: list[tuple[str, Any, dict[str, Any]]] = [
    ("encode_text", TEXTS, {}),
    ("encode_text", TEXTS[0], {"task": "code.passage", "truncate_dim": 256}),
    ("encode_text", TEXTS, {"late_chunking": True}),
    ("encode_text", TEXTS, {"max_length": 3, "return_multivector": True, "embedding_type": "int8"}),
    ("encode_image", IMAGES, {"embedding_type": "base64"}),
    ("encode_image", IMAGES[0], {"max_pixels": 784, "return_multivector": True}),
    ("encode", [TEXTS[0], IMAGES[0], "", 3], {"on_error": "skip", "prompt_name": "passage"}),
    ("encode", TEXTS, {"return_numpy": False}),
]


def plain(result: Any) -> Any:
    """A result of any form as nested lists, for comparison."""
    if isinstance(result, Partial):
        return plain(result.embeddings), result.kept, [(skip.index, str(skip.error)) for skip in result.skipped]
    if isinstance(result, list):
        return [plain(part) for part in result]
    return result if isinstance(result, str) else result.tolist()


@pytest.mark.parametrize(("method", "inputs", "options"), CALLS, ids=lambda value: str(value)[:60])
def test_asyncio_twins_return_the_same(
    fake_model: JinaEmbeddings, method: str, inputs: Any, options: dict[str, Any]
) -> None:
    expected = getattr(fake_model, method)(inputs, **options)
    result = asyncio.run(getattr(fake_model, f"a{method}")(inputs, **options))
    assert type(result) is type(expected)
    assert plain(result) == plain(expected)


def test_many_tasks_at_once_get_their_own_results(fake_model: JinaEmbeddings) -> None:
    async def main() -> list[Any]:
        calls = [getattr(fake_model, f"a{method}")(inputs, **options) for method, inputs, options in CALLS * 5]
        return list(await asyncio.gather(*calls))

    expected = [plain(getattr(fake_model, method)(inputs, **options)) for method, inputs, options in CALLS]
    assert [plain(result) for result in asyncio.run(main())] == expected * 5


class Slow(FakeEngine):
    """A slow engine, which doesn't block the event loop."""

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        time.sleep(0.4)
        return super().run(batch, batch_size=batch_size)

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        return await asyncio.to_thread(self.run, batch, batch_size=batch_size)


async def longest_pause_beside(work: Any) -> tuple[float, float]:
    """(longest time that another task waited for its turn, time of the work), in seconds."""
    pauses = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            pauses.append(time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    start = time.perf_counter()
    await work
    took = time.perf_counter() - start
    await asyncio.sleep(0.01)
    ticking.cancel()
    return max(pauses), took


@pytest.mark.parametrize("slow", ["preparing", "running", "finishing"])
@pytest.mark.parametrize("method", ["aencode_text", "aencode"])
def test_a_slow_call_does_not_block_the_event_loop(monkeypatch: pytest.MonkeyPatch, slow: str, method: str) -> None:
    model = model_on(Slow() if slow == "running" else FakeEngine())
    if slow != "running":
        owner, name = {"preparing": (Processor, "texts"), "finishing": (Job, "finish")}[slow]
        original = getattr(owner, name)

        def later(*args: Any, **options: Any) -> Any:
            time.sleep(0.4)
            return original(*args, **options)

        monkeypatch.setattr(owner, name, later)
    pause, took = asyncio.run(longest_pause_beside(getattr(model, method)(TEXTS * 8)))
    assert took >= 0.4
    assert pause < took / 2


def test_the_fake_engine_does_not_block_the_event_loop_either(fake_model: JinaEmbeddings) -> None:
    words = np.random.default_rng(0).integers(0, 10**9, (400, 20))
    texts = [" ".join(map(str, row)) for row in words]
    pause, took = asyncio.run(longest_pause_beside(fake_model.aencode_text(texts)))
    assert pause < took / 2


# Threads


def test_threads_may_share_a_model(fake_model: JinaEmbeddings) -> None:
    calls = [*CALLS, *((method, inputs, {**options, "task": "code"}) for method, inputs, options in CALLS[2:])] * 4
    expected = [plain(getattr(fake_model, method)(inputs, **options)) for method, inputs, options in calls]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda call: plain(getattr(fake_model, call[0])(call[1], **call[2])), calls))
    assert results == expected


# The end


def test_calls_of_a_closed_model_raise_engine_closed(fake_model: JinaEmbeddings) -> None:
    fake_model.close()
    fake_model.close()
    for method, inputs in METHODS.values():
        with pytest.raises(EngineClosedError, match="make a new JinaEmbeddings"):
            getattr(fake_model, method)(inputs)
        with pytest.raises(EngineClosedError):
            asyncio.run(getattr(fake_model, f"a{method}")(inputs))
    with pytest.raises(EngineClosedError):
        list(fake_model.stream(["a"]))


def test_leaving_the_context_closes() -> None:
    with JinaEmbeddings(engine="fake") as model:
        assert model.encode_text("a").shape == (DIM,)
    with pytest.raises(EngineClosedError):
        model.encode_text("a")

    async def main() -> JinaEmbeddings:
        async with JinaEmbeddings(engine="fake") as model:
            assert (await model.aencode_text("a")).shape == (DIM,)
        return model

    with pytest.raises(EngineClosedError):
        asyncio.run(main()).encode_text("a")


def test_an_error_inside_the_context_closes_and_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), JinaEmbeddings(engine="fake") as model:
        raise ZeroDivisionError
    with pytest.raises(EngineClosedError):
        model.encode_text("a")


def test_what_an_engine_raises_passes_through() -> None:
    class Dead(FakeEngine):
        def run(
            self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
        ) -> list[FloatArray]:
            raise EngineDeadError("gone")

    model = model_on(Dead())
    for on_error in ("raise", "skip"):
        with pytest.raises(EngineDeadError):
            model.encode_text(["a"], on_error=on_error)
        with pytest.raises(EngineDeadError):
            asyncio.run(model.aencode_text(["a"], on_error=on_error))


class DiesAfter(FakeEngine):
    """An engine that answers for a number of inputs and then dies."""

    calls_at_once = 3

    def __init__(self, num_inputs: int):
        super().__init__()
        self._left = num_inputs
        self._lock = threading.Lock()

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        with self._lock:
            answered = batch[: self._left]
            self._left -= len(answered)
        outputs: list[Any] = [*super().run(answered), *[None] * (len(batch) - len(answered))]
        if len(answered) < len(batch):
            raise EngineDeadError("gone", range(len(answered), len(batch)), outputs)
        return outputs


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("num_done", [0, 3, 11, 48])
@pytest.mark.parametrize("multivector", [False, True])
def test_an_engine_that_dies_names_the_inputs_not_done_and_leaves_the_vectors_of_the_others(
    fake_model: JinaEmbeddings, monkeypatch: pytest.MonkeyPatch, on_error: Any, num_done: int, multivector: bool
) -> None:
    monkeypatch.setattr("jina_embeddings.calls.run.PART_TEXTS", 7)
    texts = [f"text {number % 45}" for number in range(50)]
    expected = fake_model.encode_text(texts, return_multivector=multivector)
    if on_error == "skip":
        texts[13] = ""
    with pytest.raises(EngineDeadError, match="inputs not done: ") as caught:
        model_on(DiesAfter(num_done)).encode_text(texts, on_error=on_error, return_multivector=multivector)
    error = caught.value
    done: Any = error.done or Partial([], [], [])
    skipped = [skipped.index for skipped in done.skipped]
    assert sorted([*error.not_done, *done.kept, *skipped]) == list(range(50))
    assert len(error.not_done) >= 1
    assert len(done.kept) >= num_done - 6
    for index, vector in zip(done.kept, done.embeddings, strict=True):
        np.testing.assert_array_equal(vector, expected[index])


def test_a_stream_on_an_engine_that_dies_names_the_inputs_from_the_first_without_a_result() -> None:
    stream = model_on(DiesAfter(30)).stream([f"text {number}" for number in range(50)], chunk_size=10)
    results: list[Any] = []
    with pytest.raises(EngineDeadError) as caught:
        results.extend(stream)
    assert caught.value.not_done[0] == len(results)
    assert 0 < len(results) <= 30


def test_engine_and_info_say_what_is_loaded(fake_model: JinaEmbeddings) -> None:
    assert fake_model.engine == "fake"
    assert fake_model.info.hidden_size == DIM
    assert fake_model.info.tasks == TASKS
    assert fake_model.options.pooling_type == "mean"


@pytest.mark.parametrize(("name", "meant"), [("promt_name", "prompt_name"), ("maxlength", "max_length")])
def test_a_misspelled_argument_gets_a_suggestion(fake_model: JinaEmbeddings, name: str, meant: str) -> None:
    wrong: dict[str, Any] = {name: "query"}
    with pytest.raises(OptionError, match=f"unknown argument '{name}'; did you mean '{meant}'"):
        fake_model.encode(["a"], **wrong)
    with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
        asyncio.run(fake_model.aencode_text(["a"], **wrong))


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
