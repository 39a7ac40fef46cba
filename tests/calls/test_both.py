"""`return_both`: dense vectors and multi-vectors from one pass, with the bits that two calls give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from jina_embeddings import Both, JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import EngineDeadError, MultivectorUnavailableError, OptionError
from jina_embeddings.types import Prepared

if TYPE_CHECKING:
    from conftest import CheckpointMaker

    from jina_embeddings.engine.vllm.engine import VllmEngine

INPUTS: list[Any] = [
    "Snow is white.",
    "Bread is baked from flour and water, and from salt, slowly. " * 5,
    Image.new("RGB", (56, 84), "red"),
    "Snow is white.",
    "a",
]


def same(model: JinaEmbeddings, inputs: Any, tolerance: float = 0, **options: Any) -> None:
    both = model.encode(inputs, return_both=True, **options)
    dense = model.encode(inputs, **options)
    options.pop("truncate_dim", None)
    tokens = model.encode(inputs, return_multivector=True, **options)
    assert isinstance(both, Both)
    if isinstance(tokens, list):
        assert len(both.multivector) == len(tokens)
        pairs = [*zip(both.multivector, tokens, strict=True), (both.dense, dense)]
    else:
        pairs = [(both.multivector, tokens), (both.dense, dense)]
    for found, expected in pairs:
        if tolerance:
            np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("engine", ["torch", "transformers"])
@pytest.mark.parametrize("task", ["retrieval", "code"])
def test_both_have_the_bits_of_two_calls(checkpoint: CheckpointMaker, engine: str, task: str) -> None:
    with JinaEmbeddings(checkpoint(dtype="float32"), engine=engine, task=task) as model:
        same(model, INPUTS)
        same(model, INPUTS, truncate_dim=64, prompt_name="passage")
        same(model, INPUTS[2])


@pytest.mark.engine
def test_both_are_what_two_calls_give_on_vllm(vllm_model: JinaEmbeddings, vllm_engine: VllmEngine) -> None:
    # The bits are equal on an idle machine; under load MKL takes fewer threads, and sums in another order.
    for path in ("packed", "scheduled"):
        before, vllm_engine.path = vllm_engine.path, path
        try:
            same(vllm_model, INPUTS, 1e-6)
            same(vllm_model, [f"{number} {text}" for number in range(30) for text in INPUTS[:2]], 1e-6, task="code")
            same(vllm_model, "Snow " * 1100, 1e-6)  # longer than a pack
        finally:
            vllm_engine.path = before


def test_a_call_for_both_runs_each_input_once() -> None:
    engine = FakeEngine()
    with JinaEmbeddings(engine=engine) as model:
        model.encode(["one", "two"], return_both=True)
        assert engine.num_inputs == 2


@pytest.mark.parametrize("embedding_type", ["int8", "binary", "base64"])
def test_both_come_in_the_number_format_asked_for(fake_model: JinaEmbeddings, embedding_type: Any) -> None:
    same(fake_model, INPUTS, embedding_type=embedding_type)


def test_tensors_have_the_shapes_of_each_form(fake_model: JinaEmbeddings) -> None:
    dense, tokens = fake_model.encode(["one", "two words"], return_both=True, return_numpy=False)
    assert [tuple(vector.shape) for vector in dense] == [(fake_model.info.hidden_size,)] * 2
    assert all(vector.shape[1] == fake_model.info.multivector_dim for vector in tokens)


def test_a_bad_input_has_neither_form(fake_model: JinaEmbeddings) -> None:
    embeddings, kept, skipped = fake_model.encode(["one", "", "three"], return_both=True, on_error="skip")
    assert kept == [0, 2]
    assert [one.index for one in skipped] == [1]
    assert len(embeddings.dense) == len(embeddings.multivector) == 2
    nothing = fake_model.encode([""], return_both=True, on_error="skip").embeddings
    assert nothing.dense.shape == (0, fake_model.info.hidden_size)
    assert nothing.multivector == []


class NotANumber(FakeEngine):
    """NaN in one form of the second input."""

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        outputs = super().run(batch)
        outputs[1].multivector[0, 0] = np.nan
        return outputs


def test_nan_in_one_form_makes_the_input_bad() -> None:
    with JinaEmbeddings(engine=NotANumber()) as model:
        embeddings, kept, skipped = model.encode(["one", "two", "three"], return_both=True, on_error="skip")
    assert (kept, [one.error.code for one in skipped]) == ([0, 2], ["non_finite_result"])
    assert np.isfinite(embeddings.dense).all()


class Dying(FakeEngine):
    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        raise EngineDeadError("gone", [1], [*super().run(batch)[:1], None])


def test_what_an_engine_had_done_when_it_died_has_both_forms() -> None:
    with JinaEmbeddings(engine=Dying()) as model, pytest.raises(EngineDeadError) as caught:
        model.encode(["one", "two"], return_both=True)
    done = caught.value.done
    assert (done.kept, len(done.embeddings.dense), len(done.embeddings.multivector)) == ([0], 1, 1)


def test_parts_of_a_large_call_are_joined(fake_model: JinaEmbeddings) -> None:
    same(fake_model, [f"text {number}" for number in range(2100)])


def test_streams_give_a_pair_for_each_input(fake_model: JinaEmbeddings) -> None:
    texts = ["one", "", "three words here"]
    found = list(fake_model.stream(texts, return_both=True, on_error="skip"))
    np.testing.assert_array_equal(found[0].dense, fake_model.encode_text("one"))
    np.testing.assert_array_equal(found[2].multivector, fake_model.encode_text(texts[2], return_multivector=True))
    assert found[1].index == 1

    async def read() -> list[Any]:
        async def source() -> AsyncIterator[str]:
            yield "one"

        return [one async for one in fake_model.astream(source(), return_both=True)]

    (both,) = asyncio.run(read())
    assert isinstance(both, Both)
    np.testing.assert_array_equal(both.dense, found[0].dense)


def test_asyncio_gives_the_same(fake_model: JinaEmbeddings) -> None:
    both = asyncio.run(fake_model.aencode("one", return_both=True))
    np.testing.assert_array_equal(both.dense, fake_model.encode_text("one"))


def test_a_checkpoint_without_a_projector_refuses(checkpoint: CheckpointMaker) -> None:
    with (
        JinaEmbeddings(checkpoint(layout="merged"), engine="torch", task="code") as model,
        pytest.raises(MultivectorUnavailableError),
    ):
        model.encode("one", return_both=True)


def test_methods_of_one_kind_of_input_have_no_such_argument(fake_model: JinaEmbeddings) -> None:
    with pytest.raises(TypeError):
        fake_model.encode_text("one", return_both=True)  # type: ignore[call-overload]
    with pytest.raises(OptionError, match="unknown argument"):
        fake_model.encode("one", return_bot=True)  # type: ignore[call-overload]
