"""Opening checkpoints: every layout, their tasks, and no remote code."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from checkpoint_files import ADAPTERS, WEIGHTS, edit_json, edit_tensors
from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.checkpoint import DEFAULT_MODEL, fetch_checkpoint, open_checkpoint
from jina_embeddings.checkpoint.tensors import expected_shapes
from jina_embeddings.errors import (
    CheckpointInvalidError,
    MultivectorUnavailableError,
    OptionError,
    TaskUnavailableError,
)

if TYPE_CHECKING:
    from conftest import CheckpointMaker


# Layouts


@pytest.mark.parametrize("layout", ["multi-task", "merged"])
@pytest.mark.parametrize("names", ["legacy", "current"])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_layout_opens(checkpoint: CheckpointMaker, layout: str, names: str, shards: int) -> None:
    opened = open_checkpoint(checkpoint(layout=layout, names=names, shards=shards), task="retrieval")
    multi = layout == "multi-task"
    assert opened.tasks == (TASKS if multi else ("retrieval",))
    assert (opened.adapters is not None) == opened.has_projector == multi
    expected = expected_shapes(opened.config)
    assert {name: entry.shape for name, entry in opened.weights.entries.items()} == expected
    assert opened.weights.num_bytes == 2 * sum(int(np.prod(shape)) for shape in expected.values())
    assert opened.info.hidden_size == 128
    assert opened.info.multivector_dim == (32 if multi else None)
    assert opened.info.matryoshka_dims == ((16, 32, 64, 128) if multi else (8, 16, 32, 64, 128))
    assert opened.info.max_length == 32_768


def test_both_generations_of_names_hold_the_same_tensors(checkpoint: CheckpointMaker) -> None:
    older = dict(open_checkpoint(checkpoint(names="legacy")).weights.load())
    newer = dict(open_checkpoint(checkpoint(names="current", shards=3)).weights.load())
    assert older.keys() == newer.keys()
    assert all(torch.equal(older[name], newer[name]) for name in older)


@pytest.mark.parametrize("kept", ["flat", "nested"])
def test_text_fields_may_be_flat_or_nested(folder: Path, checkpoint: CheckpointMaker, kept: str) -> None:
    def change(config: dict[str, Any]) -> None:
        nested = config.pop("text_config")
        if kept == "nested":
            for name in nested.keys() - {"model_type"}:
                del config[name]
            config["text_config"] = nested

    edit_json(folder / "config.json", change)
    assert open_checkpoint(folder).config == open_checkpoint(checkpoint()).config


@pytest.mark.parametrize("name", ["lm_head.weight", "model.language_model.lm_head.weight"])
def test_a_language_model_head_is_ignored(folder: Path, name: str) -> None:
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors.update({name: torch.zeros(1536, 128)}))
    assert open_checkpoint(folder).weights.entries.keys() == expected_shapes(open_checkpoint(folder).config).keys()


def test_a_subset_of_tasks_is_what_the_adapters_say(checkpoint: CheckpointMaker) -> None:
    assert open_checkpoint(checkpoint(tasks=("code", "retrieval"))).tasks == ("retrieval", "code")


def test_a_folder_may_be_given_as_text_or_path_relative_or_from_home(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint()
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for spelling in (folder, str(folder), folder.name, f"./{folder.name}", f"~/{folder.name}", Path(folder.name)):
        assert open_checkpoint(spelling).folder == folder.resolve()


def test_the_projector_of_a_task_has_its_adapter_merged(checkpoint: CheckpointMaker) -> None:
    folder = checkpoint(dtype="float32", lora_alpha=20)
    base, loras = load_file(folder / WEIGHTS), load_file(folder / ADAPTERS)
    prefix = "base_model.model.multi_vector_projector.lora_"
    for task in TASKS:
        weight, bias = open_checkpoint(folder).projector(task)
        lora = loras[f"{prefix}B.{task}.weight"] @ loras[f"{prefix}A.{task}.weight"]
        torch.testing.assert_close(weight, base["multi_vector_projector.weight"] + 20 / 8 * lora)
        assert torch.equal(bias, base["multi_vector_projector.bias"])
        assert weight.dtype == bias.dtype == torch.float32


# Tasks


def test_a_merged_checkpoint_needs_its_task(merged: Path) -> None:
    with pytest.raises(TaskUnavailableError, match=r"give task=.*retrieval.*text-matching.*code"):
        open_checkpoint(merged)
    assert open_checkpoint(merged, task="code").tasks == ("code",)


def test_a_merged_checkpoint_that_names_its_task_has_no_other(merged: Path) -> None:
    edit_json(merged / "config.json", lambda config: config.update(task_names=["code"]))
    assert open_checkpoint(merged).tasks == ("code",)
    with pytest.raises(TaskUnavailableError, match="was merged for code, not 'retrieval'"):
        open_checkpoint(merged, task="retrieval")


def test_a_merged_checkpoint_has_no_multivectors(merged: Path) -> None:
    opened = open_checkpoint(merged, task="code")
    with pytest.raises(MultivectorUnavailableError, match=f"multi_vector_projector.*{DEFAULT_MODEL}"):
        opened.projector("code")
    with JinaEmbeddings(merged, engine="torch", task="code") as model:
        with pytest.raises(MultivectorUnavailableError, match="multi_vector_projector"):
            model.encode_text("a", return_multivector=True)
        with pytest.raises(TaskUnavailableError, match="code, not 'retrieval'"):
            model.encode_text("a", task="retrieval")


def test_a_task_without_an_adapter_is_refused(checkpoint: CheckpointMaker) -> None:
    folder = checkpoint(tasks=("retrieval", "code"))
    with pytest.raises(TaskUnavailableError, match="retrieval, code, not 'text-matching'"):
        open_checkpoint(folder, task="text-matching")
    opened = open_checkpoint(folder)
    with pytest.raises(TaskUnavailableError, match="text-matching"):
        opened.projector("text-matching")
    assert opened.adapters is not None
    with pytest.raises(TaskUnavailableError, match="text-matching"):
        opened.adapters.load("text-matching")


def test_base_weights_without_their_adapters_are_refused(folder: Path) -> None:
    shutil.rmtree(folder / "adapters")
    for task in (None, "retrieval"):
        with pytest.raises(CheckpointInvalidError, match="without its adapters"):
            open_checkpoint(folder, task=task)


# Remote code


@pytest.fixture
def with_code(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint whose code writes a file when it is run, and the path of that file."""
    marker = tmp_path / "it ran"
    code = f"open({str(marker)!r}, 'w').close()\nclass Anything: pass\n"
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoModel": "modeling_x.Anything", "AutoConfig": "modeling_x.Anything"}
    classes |= {"AutoTokenizer": "modeling_x.Anything", "AutoProcessor": "modeling_x.Anything"}
    for file in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        edit_json(folder / file, lambda content: content.update(auto_map=classes))
    for module in {"modeling_x", *(path.partition(".")[0] for path in config["auto_map"].values())}:
        (folder / f"{module}.py").write_text(code)
    (folder / "__init__.py").write_text(code)
    return folder, marker


@pytest.mark.parametrize("trust", [False, True])
def test_code_in_a_checkpoint_is_never_run(
    with_code: tuple[Path, Path], trust: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder, marker = with_code
    open_checkpoint(folder)
    with (
        caplog.at_level(logging.WARNING, "jina_embeddings"),
        JinaEmbeddings(folder, engine="torch", trust_remote_code=trust) as model,
    ):
        assert model.encode_text("a text").shape == (128,)
    assert not marker.exists()
    warnings = [record.getMessage() for record in caplog.records if "trust_remote_code" in record.getMessage()]
    assert len(warnings) == (1 if trust else 0)


def test_the_fake_engine_has_a_checkpoint_of_its_own_whatever_is_named() -> None:
    opened = open_checkpoint("no/such-repository", engine="fake")
    assert (opened.info.name, opened.info.hidden_size, opened.info.multivector_dim) == ("fake", 2048, 128)
    assert opened.info.tasks == ("retrieval", "text-matching", "code")
    fetch_checkpoint("no/such-repository", engine="fake")


def test_its_limits_are_held_like_those_of_any_other() -> None:
    with pytest.raises(OptionError, match="max_model_len=128001 is above the model's 128000 positions"):
        JinaEmbeddings(engine="fake", max_model_len=128_001)
