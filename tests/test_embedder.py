"""`JinaEmbeddings`: loading, sharing and closing a model."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings import embedder as module
from jina_embeddings.engine import choice as engines
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import (
    CheckpointError,
    DependencyError,
    EngineClosedError,
    EngineDeadError,
    EngineUnavailableError,
    JinaEmbeddingsError,
    OptionError,
    TaskUnavailableError,
    UnknownTaskError,
)
from sample_calls import CALLS, DIM, METHODS, plain

if TYPE_CHECKING:
    from conftest import CheckpointMaker

    from jina_embeddings.types import FloatArray, Prepared


# Loading


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"engine": "vlm"}, OptionError, "did you mean 'vllm'"),
        ({"engine": "onnx"}, OptionError, "'auto', 'vllm', 'torch', 'transformers', 'fake'"),
        ({"engine": None}, OptionError, "'auto'"),
        ({"engine": 5}, OptionError, "'auto'"),
        ({"engine": "torch", "model": ""}, CheckpointError, "the name of the model is empty"),
        ({"engine": "torch", "model": b"pocket"}, CheckpointError, "a str or a path, not bytes"),
        ({"engine": "torch", "model": 5}, CheckpointError, "a str or a path, not int"),
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

    model = JinaEmbeddings(engine=Dead())
    for on_error in ("raise", "skip"):
        with pytest.raises(EngineDeadError):
            model.encode_text(["a"], on_error=on_error)
        with pytest.raises(EngineDeadError):
            asyncio.run(model.aencode_text(["a"], on_error=on_error))


def test_engine_and_info_say_what_is_loaded(fake_model: JinaEmbeddings) -> None:
    assert fake_model.engine == "fake"
    assert fake_model.info.hidden_size == DIM
    assert fake_model.info.tasks == TASKS
    assert fake_model.options.pooling_type == "mean"
