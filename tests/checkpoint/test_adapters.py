"""Adapters: merged by the formula, and split into folders that PEFT and vLLM read."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapter_splitting import NUM_ROUNDS, adapters_of, split_in_rounds
from jina_embeddings import TASKS
from jina_embeddings.checkpoint.adapters import AdapterSet, default_cache, merge, split_adapter
from jina_embeddings.errors import CheckpointError

if TYPE_CHECKING:
    from conftest import CheckpointMaker

ADAPTERS = "adapters/adapter_model.safetensors"
NUM_PROCESSES = 2


@pytest.fixture
def adapters(checkpoint: CheckpointMaker) -> AdapterSet:
    return adapters_of(checkpoint())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scaling", [1.0, 2.5, 0.0])
def test_merging_is_the_formula_computed_in_float32(dtype: torch.dtype, scaling: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 5, generator=generator).to(dtype)
    a, b = torch.randn(3, 5, generator=generator).to(dtype), torch.randn(6, 3, generator=generator).to(dtype)
    before = weight.clone(), a.clone(), b.clone()
    expected = torch.empty(6, 5, dtype=torch.float64)
    for i in range(6):
        for j in range(5):
            change = sum(float(b[i, k]) * float(a[k, j]) for k in range(3))
            expected[i, j] = float(weight[i, j]) + scaling * change
    merged = merge(weight, (a, b), scaling)
    assert merged.dtype == dtype
    # The result is rounded to the dtype once.
    torch.testing.assert_close(merged.double(), expected, atol=1e-6, rtol=torch.finfo(dtype).eps)
    assert all(torch.equal(now, then) for now, then in zip((weight, a, b), before, strict=True))


def test_pairs_are_loaded_as_they_are_stored(adapters: AdapterSet) -> None:
    stored = load_file(adapters.file)
    for task in TASKS:
        pairs = adapters.load(task)
        assert list(pairs) == adapters.modules(task)
        assert len(pairs) == 3 * 7 + 1
        for name, (a, b) in pairs.items():
            assert torch.equal(a, stored[f"base_model.model.{name}.lora_A.{task}.weight"])
            assert torch.equal(b, stored[f"base_model.model.{name}.lora_B.{task}.weight"])
    assert adapters.num_bytes == sum(tensor.nbytes for tensor in stored.values())


def test_single_modules_can_be_loaded(adapters: AdapterSet) -> None:
    assert list(adapters.load("code", ["multi_vector_projector"])) == ["multi_vector_projector"]
    assert adapters.load("code", []) == {}


@pytest.mark.parametrize("task", TASKS)
def test_a_split_adapter_holds_one_task_under_the_names_that_peft_reads(
    adapters: AdapterSet, tmp_path: Path, task: str
) -> None:
    folder = split_adapter(adapters, task, tmp_path)  # type: ignore[arg-type]
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    expected = {
        name.replace(f".{task}.", "."): tensor
        for name, tensor in load_file(adapters.file).items()
        if f".{task}." in name and "multi_vector_projector" not in name
    }
    split = load_file(folder / "adapter_model.safetensors")
    assert split.keys() == expected.keys()
    assert "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight" in split
    assert all(torch.equal(split[name], expected[name]) for name in split)


def test_a_split_adapter_is_configured_as_it_was(checkpoint: CheckpointMaker, tmp_path: Path) -> None:
    folder = split_adapter(adapters_of(checkpoint(dtype="float32", lora_alpha=20)), "code", tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert (config["r"], config["lora_alpha"]) == (8, 20)
    assert sorted(config["target_modules"]) == [
        "down_proj",
        "gate_proj",
        "k_proj",
        "o_proj",
        "q_proj",
        "up_proj",
        "v_proj",
    ]
    assert config["bias"] == "none"
    assert not config.get("modules_to_save")


def test_equal_content_has_one_folder_that_is_written_once(
    checkpoint: CheckpointMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(checkpoint(), tmp_path / "copy"))
    cache = tmp_path / "cache"
    first = split_adapter(adapters_of(checkpoint()), "code", cache)
    monkeypatch.setattr("safetensors.torch.save_file", lambda *_, **__: pytest.fail("written again"))
    assert split_adapter(adapters_of(copy), "code", cache) == first
    assert list(cache.iterdir()) == [first]


@pytest.mark.parametrize("changed", ["a number", "the alpha"])
def test_changed_content_has_another_folder(checkpoint: CheckpointMaker, tmp_path: Path, changed: str) -> None:
    copy = Path(shutil.copytree(checkpoint(), tmp_path / "copy"))
    if changed == "a number":
        tensors = load_file(copy / ADAPTERS)
        tensors["base_model.model.model.language_model.layers.2.mlp.up_proj.lora_B.code.weight"][0, 0] += 1
        save_file(tensors, copy / ADAPTERS)
    else:
        path = copy / "adapters" / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 16}))
    cache = tmp_path / "cache"
    folders = {split_adapter(adapters_of(source), "code", cache) for source in (checkpoint(), copy)}
    assert len(folders) == 2
    assert set(cache.iterdir()) == folders


def test_every_task_has_its_own_folder(adapters: AdapterSet, tmp_path: Path) -> None:
    folders = [split_adapter(adapters, task, tmp_path) for task in TASKS]
    assert len(set(folders)) == len(TASKS)
    for task, folder in zip(TASKS, folders, strict=True):
        assert task in folder.name


def test_other_users_can_read_a_shared_cache(adapters: AdapterSet, tmp_path: Path) -> None:
    """Otherwise a second user couldn't use a shared cache."""
    folder = split_adapter(adapters, "code", tmp_path)
    readers = stat.S_IMODE(folder.stat().st_mode) & 0o444
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o444 == readers, path.name


# Several at once


@pytest.mark.long
def test_processes_that_split_at_the_same_time_all_succeed(checkpoint: CheckpointMaker, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(NUM_PROCESSES), context.Queue()
    arguments = (str(checkpoint()), str(tmp_path), barrier, results)
    processes = [context.Process(target=split_in_rounds, args=arguments) for _ in range(NUM_PROCESSES)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=90) for _ in range(NUM_PROCESSES * NUM_ROUNDS)]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    names = {name for _, name in answers}
    assert len(names) == 1, names
    for number in range(NUM_ROUNDS):
        assert {path.name for path in (tmp_path / str(number)).iterdir()} == names, "one folder and nothing left over"


def test_a_process_that_loses_the_race_uses_the_others_folder(
    adapters: AdapterSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process creates the folder after this one has checked for it."""
    from safetensors import torch as safetensors_torch

    save = safetensors_torch.save_file
    others: list[Path] = []

    def save_after_the_other(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(safetensors_torch, "save_file", save)
        others.append(split_adapter(adapters, "code", tmp_path))
        save(*args, **options)

    monkeypatch.setattr(safetensors_torch, "save_file", save_after_the_other)
    folder = split_adapter(adapters, "code", tmp_path)
    assert others == [folder]
    assert list(tmp_path.iterdir()) == [folder]
    assert load_file(folder / "adapter_model.safetensors")


class Killed(BaseException):
    """Stands for the death of a process: a BaseException, so that no handler runs."""


def write_half(tensors: dict[str, torch.Tensor], path: Path) -> None:
    Path(path).write_bytes(b"half")
    raise Killed


@pytest.mark.parametrize("step", ["weights", "configuration", "rename"])
@pytest.mark.parametrize("cleaned", [True, False], ids=["interrupted", "killed"])
def test_an_unfinished_folder_is_not_used(
    adapters: AdapterSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, cleaned: bool
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "weights":
            patch.setattr("safetensors.torch.save_file", write_half)
        else:
            patch.setattr(Path, {"configuration": "write_text", "rename": "rename"}[step], stop)
        if not cleaned:
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            split_adapter(adapters, "code", tmp_path)
    left_over = list(tmp_path.iterdir())
    assert len(left_over) == (0 if cleaned else 1)

    folder = split_adapter(adapters, "code", tmp_path)
    assert folder not in left_over
    assert len(load_file(folder / "adapter_model.safetensors")) == 3 * 7 * 2
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8


# Where the cache is


def file_in_its_place(cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.touch()


def file_above_it(cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.touch()


def read_only(cache: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    cache.mkdir(parents=True)
    cache.chmod(0o500)


@pytest.mark.parametrize("spoil", [file_in_its_place, file_above_it, read_only], ids=lambda spoil: spoil.__name__)
def test_a_cache_that_can_not_be_written_is_named_with_the_remedy(
    adapters: AdapterSet, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    cache = tmp_path / "a" / "b" / "cache"
    spoil(cache)
    with pytest.raises(CheckpointError, match=f"{cache}.*JINA_EMBEDDINGS_CACHE"):
        split_adapter(adapters, "code", cache)


def test_a_full_disk_is_named_with_the_remedy_and_leaves_nothing(
    adapters: AdapterSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fill)
    with pytest.raises(CheckpointError, match=f"{tmp_path}.*No space left.*JINA_EMBEDDINGS_CACHE"):
        split_adapter(adapters, "code", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_not_be_written_to_its_end_is_named_with_the_remedy(
    adapters: AdapterSet, tmp_path: Path
) -> None:
    """safetensors raises its own error for that."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=f"{tmp_path}.*JINA_EMBEDDINGS_CACHE"):
            split_adapter(adapters, "code", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_folder_follows_the_environment(
    adapters: AdapterSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_EMBEDDINGS_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own" / "adapters"
    assert split_adapter(adapters, "code").parent == tmp_path / "own" / "adapters"
    monkeypatch.setenv("JINA_EMBEDDINGS_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "jina-embeddings" / "adapters"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "jina-embeddings" / "adapters"
