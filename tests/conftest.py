"""Fixtures that test files share; checkpoints are made once, and engines are loaded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# No test may reach a hub; and transformers must find a torchvision that it can import.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tensors of tests are small: several threads mostly wait for each other, and for those of a second process of tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# vLLM would bind the workers of all engines to the same core of two.
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

from forked import fork_engines
from jina_embeddings.torch_companions import repair
from make_checkpoint import make_checkpoint

if TYPE_CHECKING:
    from jina_embeddings import JinaEmbeddings
    from jina_embeddings.engine.fake import FakeEngine
    from jina_embeddings.engine.vllm.engine import VllmEngine
    from reference import Reference

repair()

CheckpointMaker = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the tests of engines, since they take longest, and several processes are to end together."""
    items.sort(key=lambda item: item.get_closest_marker("engine") is None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes don't name a test: compressed ones hold the time, and every process must give a test the same name."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures of a test that loads an engine: its processes are forked, which takes seconds."""
    if item.get_closest_marker("engine") is not None:
        fork_engines()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> CheckpointMaker:
    """`checkpoint(layout=..., ...)`: the folder of a tiny checkpoint, made once for each set of arguments."""
    made: dict[str, Path] = {}

    def make(**arguments: Any) -> Path:
        key = repr(sorted(arguments.items()))
        if key not in made:
            made[key] = make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", **arguments)
        return made[key]

    return make


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["JINA_EMBEDDINGS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    # Whoever runs the tests may have settings of their own.
    os.environ["JINA_EMBEDDINGS_CONFIG"] = str(tmp_path_factory.mktemp("settings") / "config.toml")
    Path(os.environ["JINA_EMBEDDINGS_CONFIG"]).touch()
    for name in ("JINA_EMBEDDINGS_MODEL", "JINA_EMBEDDINGS_ENGINE"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def torch_model(checkpoint: CheckpointMaker) -> Iterator[JinaEmbeddings]:
    """The multi-task checkpoint on the torch engine."""
    from jina_embeddings import JinaEmbeddings

    with JinaEmbeddings(checkpoint(dtype="float32"), engine="torch") as model:
        yield model


@pytest.fixture(scope="session")
def references(checkpoint: CheckpointMaker) -> dict[str, Reference]:
    """The independent reference of each task, on the multi-task checkpoint."""
    from jina_embeddings import TASKS
    from reference import Reference

    return {task: Reference(checkpoint(dtype="float32"), task) for task in TASKS}


@pytest.fixture(scope="session")
def _vllm(checkpoint: CheckpointMaker) -> Iterator[tuple[JinaEmbeddings, VllmEngine]]:
    from loaded import vllm_loaded

    folder = checkpoint(dtype="float32", names="current", shards=3)
    with vllm_loaded(folder, dtype="float32", max_num_batched_tokens=1024) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def vllm_model(_vllm: tuple[JinaEmbeddings, VllmEngine]) -> JinaEmbeddings:
    """The same model inside vLLM, from shards with the other generation of names; short steps, so that
    long prompts are computed in several."""
    return _vllm[0]


@pytest.fixture(scope="session")
def vllm_engine(_vllm: tuple[JinaEmbeddings, VllmEngine]) -> VllmEngine:
    """The engine of `vllm_model`."""
    return _vllm[1]


@pytest.fixture
def fake_engine() -> FakeEngine:
    from jina_embeddings.engine.fake import FakeEngine

    return FakeEngine()


@pytest.fixture
def fake_model(fake_engine: FakeEngine) -> Iterator[JinaEmbeddings]:
    """A model on the fake engine, for tests of what is above the engine."""
    from jina_embeddings import JinaEmbeddings

    with JinaEmbeddings(engine=fake_engine) as model:
        yield model
