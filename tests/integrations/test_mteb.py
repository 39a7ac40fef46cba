"""The model in mteb: its own mock tasks run, and each kind of task gets the right adapter and prompt."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mteb_tables
from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import MultivectorUnavailableError
from jina_embeddings.vectors.similarity import maxsim
from mteb_tables import TABLES, tasks_of

pytestmark = pytest.mark.long

# mteb is imported in fixtures and tests rather than here, where every run of any tests would wait for it.


@pytest.fixture(scope="module")
def mteb() -> Any:
    return pytest.importorskip("mteb", reason="pip install 'jina-embeddings-vllm[mteb]'")


@pytest.fixture(scope="module")
def mock_tasks(mteb: Any) -> list[Any]:
    return list(importlib.import_module("mteb.mocks").ALL_MOCK_TASK_TEST_GRID)


@pytest.fixture(scope="module")
def forms(mteb: Any) -> Any:
    """The module with `MTEBEncoder` and `MTEBLateInteraction`."""
    return importlib.import_module("jina_embeddings.integrations.mteb")


@pytest.fixture(scope="module")
def model() -> Iterator[JinaEmbeddings]:
    with JinaEmbeddings(engine="fake") as model:
        yield model


def metadata(kind: str, domain: str = "Web", language: str = "eng-Latn") -> Any:
    plain = language.partition("-")[0]
    return SimpleNamespace(name="task", type=kind, domains=[domain], eval_langs=[language], languages=[plain])


def encoded(encoder: Any, batches: list[dict[str, Any]], kind: Any, prompt_type: Any = None) -> Any:
    return encoder.encode(batches, task_metadata=kind, hf_split="test", hf_subset="default", prompt_type=prompt_type)


@pytest.mark.parametrize("form", ["MTEBEncoder", "MTEBLateInteraction"])
def test_mock_tasks_of_mteb_run(model: JinaEmbeddings, form: str, forms: Any, mteb: Any, mock_tasks: list[Any]) -> None:
    run = mteb.mock_run(getattr(forms, form)(model))
    errors = {name: status.exception for name, status in run.items() if hasattr(status, "exception")}
    assert errors == {}
    ran = {name for name, status in run.items() if status is not None}
    kinds = {task.metadata.type for task in mock_tasks if task.metadata.name in ran}
    searches = {"Retrieval", "Reranking", "InstructionReranking", "Any2AnyRetrieval", "VisionCentricQA"}
    assert searches <= kinds
    if form == "MTEBEncoder":
        assert {"STS", "Clustering", "Classification", "BitextMining", "VisualSTS(eng)", "ImageClustering"} <= kinds


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        (metadata("Retrieval"), "retrieval"),
        (metadata("InstructionReranking"), "retrieval"),
        (metadata("DocumentUnderstanding"), "retrieval"),
        (metadata("STS"), "text-matching"),
        (metadata("BitextMining"), "text-matching"),
        (metadata("VisualSTS(eng)"), "text-matching"),
        (metadata("Retrieval", domain="Programming"), "code"),
        (metadata("Retrieval", language="python-Code"), "code"),
    ],
)
def test_the_task_follows_from_the_benchmarks(
    model: JinaEmbeddings, forms: Any, mteb: Any, kind: Any, task: str
) -> None:
    encoder = forms.MTEBEncoder(model, truncate_dim=256)
    batches = [{"text": ["one", "two"]}, {"text": ["three"]}]
    kinds = mteb.types.PromptType
    for prompt_type, prompt_name in ((None, "query"), (kinds.query, "query"), (kinds.document, "passage")):
        expected = model.encode_text(["one", "two", "three"], task=task, prompt_name=prompt_name, truncate_dim=256)
        assert np.array_equal(encoded(encoder, batches, kind, prompt_type), expected)


def test_pictures_and_texts_with_pictures(model: JinaEmbeddings, forms: Any, mteb: Any) -> None:
    pictures = [Image.new("RGB", (56, 56), color) for color in ("red", "green")]
    kind = metadata("Any2AnyRetrieval")
    images = model.encode_image(pictures, task="retrieval")
    assert np.array_equal(encoded(forms.MTEBEncoder(model), [{"image": pictures}], kind), images)
    texts = model.encode_text(["one", " "], task="retrieval", prompt_name="passage")
    both = encoded(
        forms.MTEBEncoder(model), [{"image": pictures, "text": ["one", ""]}], kind, mteb.types.PromptType.document
    )
    assert np.linalg.norm(both, axis=1) == pytest.approx(np.ones(2))
    assert both == pytest.approx((images + texts) / np.linalg.norm(images + texts, axis=1, keepdims=True), abs=1e-6)


def test_late_interaction_ranks_by_maxsim(model: JinaEmbeddings, forms: Any, mock_tasks: list[Any]) -> None:
    from datasets import Dataset

    documents = ["bread needs flour", "the moon goes around the earth", "a cat sleeps all day long"]
    task = next(task for task in mock_tasks if task.metadata.type == "Retrieval").metadata
    common = {"task_metadata": task, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}, "num_proc": None}
    searcher = forms.MTEBLateInteraction(model)
    corpus = [{"id": str(number), "title": "", "text": text} for number, text in enumerate(documents)]
    searcher.index(Dataset.from_list(corpus), **common)
    asked = Dataset.from_list([{"id": "q", "text": "moon and earth"}])
    found = searcher.search(asked, top_k=3, **common)["q"]
    query = model.encode_text("moon and earth", task="retrieval", return_multivector=True)
    made = model.encode_text(documents, task="retrieval", prompt_name="passage", return_multivector=True)
    assert [found[str(number)] for number in range(3)] == pytest.approx(maxsim(query, made).tolist(), abs=1e-4)


def test_late_interaction_needs_a_projector(model: JinaEmbeddings, forms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(model, "info", replace(model.info, multivector_dim=None))
    with pytest.raises(MultivectorUnavailableError, match="no projector"):
        forms.MTEBLateInteraction(model)


@pytest.mark.parametrize("options", [[], ["--late-interaction"]])
def test_the_command_for_the_tables_measures_and_goes_on(
    mock_tasks: list[Any],
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With mteb's mock tasks in place of a table's: the command, but for the weights and the data."""
    names = ["MockRerankingTask", "MockRetrievalTask"]
    tasks = [task for task in mock_tasks if task.metadata.name in names]
    assert len(tasks) == 2
    monkeypatch.setattr(mteb_tables, "tasks_of", lambda table: tasks)
    command = ["mteb_tables.py", "--tables", "retrieval", "--model", "fake", "--engine", "fake", *options]
    monkeypatch.setattr(sys, "argv", [*command, "--cache", str(tmp_path)])
    mteb_tables.main()
    printed = capsys.readouterr().out
    name, *scores, mean = [line.split() for line in printed.splitlines()]
    assert (name, mean[0]) == (["retrieval"], "mean")
    assert sorted(score[0] for score in scores) == names
    values = [float(score[1]) for score in scores]
    assert all(0 < value <= 100 for value in values)
    assert float(mean[1]) == pytest.approx(sum(values) / 2, abs=0.01)
    # Tasks that are done are not measured again.
    monkeypatch.setattr(JinaEmbeddings, "encode_text", None)
    mteb_tables.main()
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_name_tasks_that_there_are(mteb: Any, table: str) -> None:
    assert len(tasks_of(table)) >= 6
