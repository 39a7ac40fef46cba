"""vLLM engines with one task in their weights: a merged checkpoint, and an adapter merged while loading."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import parity
from inputs import COSINE, TEXTS, picture
from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import EngineDeadError, TaskUnavailableError
from reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CheckpointMaker

pytestmark = pytest.mark.engine

OWN = "own_pooling:largest_norm"


@pytest.fixture(scope="module")
def merged_model(checkpoint: CheckpointMaker) -> Iterator[JinaEmbeddings]:
    """A merged checkpoint with two shards and legacy names, and a registered pooling function."""
    folder = checkpoint(layout="merged", task="code", names="legacy", shards=2, dtype="bfloat16")
    with JinaEmbeddings(folder, engine="vllm", task="code", dtype="float32", pooling_type=OWN) as model:
        yield model


def test_a_merged_checkpoint_and_a_registered_pooling_run_in_the_worker(
    merged_model: JinaEmbeddings, checkpoint: CheckpointMaker
) -> None:
    folder = checkpoint(layout="merged", task="code", names="legacy", shards=2, dtype="bfloat16")
    texts = [TEXTS["latin"], TEXTS["han"], TEXTS["2,000 tokens"]]
    with JinaEmbeddings(folder, engine="transformers", task="code", dtype="float32", pooling_type=OWN) as model:
        expected = model.encode_text(texts)
    assert merged_model.info.tasks == ("code",)
    assert parity.cosines(merged_model.encode_text(texts), expected).min() >= COSINE


@pytest.fixture
def one_task_model(checkpoint: CheckpointMaker, tmp_path: Path) -> Iterator[JinaEmbeddings]:
    """The checkpoint's config.json has no model_type, as those of some published checkpoints."""
    folder = Path(shutil.copytree(checkpoint(dtype="float32", lora_alpha=20), tmp_path / "checkpoint"))
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    with JinaEmbeddings(folder, engine="vllm", dtype="float32", merge_adapter="text-matching") as model:
        yield model


def test_a_merged_adapter_works_until_its_process_is_killed(
    one_task_model: JinaEmbeddings, checkpoint: CheckpointMaker
) -> None:
    model = one_task_model
    reference = Reference(checkpoint(dtype="float32", lora_alpha=20), "text-matching")
    assert parity.cosines(model.encode_text(TEXTS["latin"]), reference.text(TEXTS["latin"])) >= COSINE
    tokens = model.encode_text(TEXTS["latin"], return_multivector=True)
    assert parity.cosines(tokens, reference.text_multivector(TEXTS["latin"])).min() >= COSINE
    image = picture(90, 90)
    assert parity.cosines(model.encode_image(image), reference.image(image)) >= COSINE
    with pytest.raises(TaskUnavailableError):
        model.encode_text("x", task="code")

    texts = [f"{i} {TEXTS['middling']}" for i in range(20_000)]
    killer = threading.Timer(2.0, _kill_engine)
    killer.start()
    started = time.monotonic()
    with pytest.raises(EngineDeadError) as caught:
        model.encode_text(texts)
    assert time.monotonic() - started < 60, "a dead engine must not keep its callers waiting"
    error = caught.value
    assert error.not_done
    assert sorted([*error.not_done, *error.done.kept]) == list(range(len(texts)))
    for index in (0, -1):
        expected = reference.text(texts[error.done.kept[index]])
        assert parity.cosines(error.done.embeddings[index], expected) >= COSINE
    with pytest.raises(EngineDeadError):
        model.encode_text("x")


def _kill_engine() -> None:
    """Kills the newest engine process of this test run, as the kernel does when memory runs out."""
    children = psutil.Process().children(recursive=True)
    engines = [child for child in children if "EngineCore" in " ".join(child.cmdline()) or "EngineCore" in child.name()]
    max(engines, key=lambda child: child.create_time()).kill()
