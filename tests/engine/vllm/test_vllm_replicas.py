"""Two vLLM engines of one model: bulk calls over both, bad inputs among good ones, and engines that are killed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

import parity
from inputs import COSINE, TEXTS, few_of_each_kind, picture
from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.errors import EngineDeadError, ImageError, InputError, TextTooLongError
from loaded import vllm_loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CheckpointMaker

    from jina_embeddings.engine.vllm.replicas import Replicas

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def loaded(checkpoint: CheckpointMaker) -> Iterator[tuple[JinaEmbeddings, Replicas]]:
    """Two engines with small packs, so that there are many; the workers resize images."""
    options: dict[str, Any] = {
        "data_parallel_size": 2,
        "max_num_batched_tokens": 512,
        "path": "packed",
        "image_resize": "device",
    }
    with vllm_loaded(checkpoint(dtype="float32"), **options) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def two_engines(loaded: tuple[JinaEmbeddings, Replicas]) -> JinaEmbeddings:
    return loaded[0]


@pytest.mark.parametrize("multivector", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_vectors_are_those_of_one_engine(
    two_engines: JinaEmbeddings, torch_model: JinaEmbeddings, task: str, multivector: bool
) -> None:
    inputs = [*few_of_each_kind(), *(f"text {i} {TEXTS['latin']}" for i in range(60))]
    options = {"task": task, "prompt_name": "passage", "return_multivector": multivector}
    vectors, expected = (model.encode(inputs, **options) for model in (two_engines, torch_model))  # type: ignore[call-overload]
    for vector, wanted in zip(vectors, expected, strict=True):
        assert parity.cosines(vector, wanted).min() >= COSINE


def test_bad_inputs_among_many_are_skipped(two_engines: JinaEmbeddings, torch_model: JinaEmbeddings) -> None:
    good: list[Any] = [picture(28, 28), picture(400, 300), *(f"text {i} {TEXTS['latin']}" for i in range(200))]
    bad = {
        0: b"no image",
        3: "word " * 40_000,
        50: b"\x89PNG\r\n\x1a\n",
        120: 3.5,
        len(good) + 4: {"image": "/no/such/file"},
    }
    kinds = (ImageError, TextTooLongError, ImageError, InputError, ImageError)
    inputs = list(good)
    for index, value in bad.items():
        inputs.insert(index, value)
    result = two_engines.encode(inputs, on_error="skip", truncate=False)
    assert [skipped.index for skipped in result.skipped] == list(bad)
    for skipped, kind in zip(result.skipped, kinds, strict=True):
        assert isinstance(skipped.error, kind)
    assert result.kept == [index for index in range(len(inputs)) if index not in bad]
    assert parity.cosines(result.embeddings, torch_model.encode(good)).min() >= COSINE


def test_killed_engines_hand_their_work_on_or_name_what_was_not_done(
    loaded: tuple[JinaEmbeddings, Replicas], torch_model: JinaEmbeddings
) -> None:
    """After one engine is killed the other does its work; after both, the error names the inputs not embedded."""
    two_engines, replicas = loaded
    texts = [f"{i} {TEXTS['latin']}" for i in range(4000)]
    some = np.linspace(0, len(texts) - 1, 40).astype(int)
    expected = torch_model.encode_text([texts[i] for i in some])
    # These two engines are the newest; older ones belong to other tests.
    before = _engine_processes()
    threading.Timer(1, _kill_an_engine).start()
    vectors = two_engines.encode_text(texts)
    assert _engine_processes() == before[:-1]
    assert parity.cosines(vectors[some], expected).min() >= COSINE

    for engine in replicas.engines:
        engine.path = "scheduled"  # type: ignore[attr-defined]
    threading.Timer(2, _kill_an_engine).start()
    started = time.monotonic()
    with pytest.raises(EngineDeadError, match="inputs not done: ") as caught:
        two_engines.encode_text(texts)
    assert time.monotonic() - started < 60
    error = caught.value
    assert error.not_done
    assert sorted([*error.not_done, *error.done.kept]) == list(range(len(texts)))
    for index, vector in zip(error.done.kept, error.done.embeddings, strict=True):
        assert parity.cosines(vector, vectors[index]) >= COSINE


def _engine_processes() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    found = [child for child in children if "EngineCore" in " ".join(child.cmdline()) or "EngineCore" in child.name()]
    return sorted(found, key=lambda child: child.create_time())


def _kill_an_engine() -> None:
    _engine_processes()[-1].kill()
