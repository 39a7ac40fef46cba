"""Opening checkpoints: every layout, every kind of damage, hub ids, and no remote code."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._paths import filter_repo_objects
from safetensors.torch import load_file, save_file

from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.checkpoint import DEFAULT_MODEL, fetch_checkpoint, open_checkpoint
from jina_embeddings.checkpoint.config import read_config
from jina_embeddings.checkpoint.model_type import folder_with_model_type
from jina_embeddings.checkpoint.resolve import MERGED_REPOSITORIES
from jina_embeddings.checkpoint.tensors import expected_shapes, read_header
from jina_embeddings.checkpoint.tokenizer import load_tokenizer
from jina_embeddings.errors import (
    CheckpointError,
    CheckpointInvalidError,
    CheckpointNotFoundError,
    MultivectorUnavailableError,
    OptionError,
    TaskUnavailableError,
)
from jina_embeddings.inputs.processor import read_image_config

if TYPE_CHECKING:
    from conftest import CheckpointMaker

Tensors = dict[str, torch.Tensor]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTERS = "adapters/adapter_model.safetensors"
ADAPTER_CONFIG = "adapters/adapter_config.json"


@pytest.fixture
def folder(checkpoint: CheckpointMaker, tmp_path: Path) -> Path:
    """A multi-task checkpoint that a test may damage."""
    return copy_of(checkpoint(), tmp_path)


@pytest.fixture
def sharded(checkpoint: CheckpointMaker, tmp_path: Path) -> Path:
    return copy_of(checkpoint(shards=3), tmp_path)


@pytest.fixture
def merged(checkpoint: CheckpointMaker, tmp_path: Path) -> Path:
    return copy_of(checkpoint(layout="merged", task="code"), tmp_path)


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_tensors(path: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def write_safetensors(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> None:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)


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


# Damaged weights

SOME_TENSORS = [
    "model.embed_tokens.weight",
    "model.norm.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.1.self_attn.k_proj.bias",
    "model.layers.2.mlp.down_proj.weight",
    "visual.patch_embed.proj.weight",
    "visual.blocks.3.attn.qkv.bias",
    "visual.merger.mlp.2.weight",
    "multi_vector_projector.weight",
    "multi_vector_projector.bias",
]


@pytest.mark.parametrize("name", SOME_TENSORS)
def test_a_missing_tensor_is_named_with_the_file(folder: Path, name: str) -> None:
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors.pop(name))
    ending = name.removeprefix("model.")
    with pytest.raises(CheckpointInvalidError, match=rf"{re.escape(ending)}.* missing .*{re.escape(WEIGHTS)}"):
        open_checkpoint(folder)


def test_a_tensor_missing_from_shards_is_named_with_the_files(sharded: Path) -> None:
    path = sharded / "model-00002-of-00003.safetensors"
    name = sorted(load_file(path))[0]
    edit_tensors(path, lambda tensors: tensors.pop(name))
    with pytest.raises(CheckpointInvalidError, match=path.name) as error:
        open_checkpoint(sharded)
    assert name.removeprefix("model.") in str(error.value)


@pytest.mark.parametrize("name", SOME_TENSORS)
def test_a_tensor_of_another_shape_is_named_with_both_shapes_and_the_file(folder: Path, name: str) -> None:
    shape = list(load_file(folder / WEIGHTS)[name].shape)
    wrong = [*shape[:-1], shape[-1] + 1]
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors.update({name: torch.zeros(wrong)}))
    with pytest.raises(CheckpointInvalidError) as error:
        open_checkpoint(folder)
    for part in (str(folder / WEIGHTS), name, str(wrong)):
        assert part in str(error.value)
    # The expected shape of the projector isn't known, as its size is read from its weight.
    if not name.startswith("multi_vector_projector"):
        assert str(shape) in str(error.value)


@pytest.mark.parametrize(
    "name", ["model.layers.3.mlp.up_proj.weight", "model.language_model.layers.7.input_layernorm.weight"]
)
def test_a_layer_that_the_configuration_does_not_have_is_named(folder: Path, name: str) -> None:
    """Left out, as from a config.json of a smaller model, it would give vectors of another model."""
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors.update({name: torch.zeros(256, 128)}))
    with pytest.raises(CheckpointInvalidError, match=re.escape(name)) as error:
        open_checkpoint(folder)
    assert WEIGHTS in str(error.value)


@pytest.mark.parametrize("file", [WEIGHTS, ADAPTERS])
@pytest.mark.parametrize("cut", ["nothing left", "in the length", "after the length", "in the header", "before data"])
def test_a_file_cut_before_its_data_is_named(folder: Path, file: str, cut: str) -> None:
    path = folder / file
    content = path.read_bytes()
    data = 8 + struct.unpack("<Q", content[:8])[0]
    sizes = {"nothing left": 0, "in the length": 5, "after the length": 8, "in the header": data // 2}
    path.write_bytes(content[: sizes.get(cut, data)])
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(path))):
        open_checkpoint(folder)


@pytest.mark.parametrize("file", [WEIGHTS, ADAPTERS])
@pytest.mark.parametrize("missing", [1, 1000, 100_000])
def test_a_file_cut_in_its_data_is_named_with_a_tensor(folder: Path, file: str, missing: int) -> None:
    path = folder / file
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(path))) as error:
        open_checkpoint(folder)
    assert any(repr(name) in str(error.value) for name in read_header_of(folder, file))


def read_header_of(folder: Path, file: str) -> list[str]:
    with (folder / file).open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        return list(json.loads(stream.read(length)))


def test_a_shard_that_is_cut_is_the_one_named(sharded: Path) -> None:
    path = sharded / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(path))):
        open_checkpoint(sharded)


GARBAGE: dict[str, bytes] = {
    "no JSON": b"this is not a header",
    "no text": b"\xff\xfe\x00\x01",
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "no descriptions": b'{"a": 1}',
    "an empty description": b'{"a": {}}',
    "no offsets": b'{"a": {"dtype": "F32", "shape": [2]}}',
    "no shape": b'{"a": {"dtype": "F32", "data_offsets": [0, 8]}}',
    "no dtype": b'{"a": {"shape": [2], "data_offsets": [0, 8]}}',
    "one offset": b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}',
    "offsets of text": b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": ["0", "8"]}}',
    "no list of a shape": b'{"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}',
}


@pytest.mark.parametrize("header", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_garbage_header_is_an_error_that_names_the_file(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, header, bytes(8))
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(path))):
        read_header(path)


@pytest.mark.parametrize("file", [WEIGHTS, ADAPTERS])
def test_a_file_without_tensors_is_an_error_that_names_it(folder: Path, file: str) -> None:
    write_safetensors(folder / file, b"{}")
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(folder)) + f".*{re.escape(Path(file).name)}"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bool,
        torch.uint8,
        torch.int16,
        torch.uint16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.float64,
        torch.complex64,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.float8_e8m0fnu,
    ],
    ids=str,
)
def test_tensors_of_every_type_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    """Tensors of dtypes that the model doesn't use are no error."""
    path = tmp_path / "a.safetensors"
    save_file({"b": torch.zeros(3, 4, dtype=torch.uint8).to(dtype)}, path)
    entry = read_header(path)["b"]
    assert entry.shape == (3, 4)
    assert entry.num_bytes == 12 * dtype.itemsize


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**6])
def test_a_garbage_length_is_an_error_that_names_the_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, b"{}", length=length)
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(path))):
        read_header(path)


def test_a_tensor_whose_bytes_do_not_fit_its_shape_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, b'{"b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', bytes(4))
    with pytest.raises(CheckpointInvalidError, match=f"{re.escape(str(path))}.*'b'"):
        read_header(path)


def test_a_pointer_in_place_of_a_large_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3851912\n")
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(path))):
        read_header(path)


@pytest.mark.parametrize("weight_map", [["model-00001-of-00003.safetensors"], "all", None, {}, {"a": 3}, {"a": None}])
def test_an_index_that_maps_nothing_is_an_error_that_names_it(sharded: Path, weight_map: object) -> None:
    edit_json(sharded / INDEX, lambda index: index.update(weight_map=weight_map))
    with pytest.raises(CheckpointInvalidError, match=re.escape(INDEX)):
        open_checkpoint(sharded)


def test_weights_come_from_the_files_of_the_index_only(sharded: Path) -> None:
    """A file left over from an earlier download is not read."""
    save_file({"model.norm.weight": torch.full((128,), 9.0)}, sharded / "model-00004-of-00004.safetensors")
    weights = dict(open_checkpoint(sharded).weights.load())
    assert weights["model.language_model.norm.weight"].max() < 9


# Missing files

READERS: dict[str, Callable[[Path], object]] = {
    "config.json": open_checkpoint,
    ADAPTERS: open_checkpoint,
    ADAPTER_CONFIG: open_checkpoint,
    "tokenizer.json": lambda folder: load_tokenizer(folder / "tokenizer.json"),
    "preprocessor_config.json": lambda folder: read_image_config(open_checkpoint(folder)),
}


@pytest.mark.parametrize("file", [WEIGHTS, *READERS])
def test_a_file_that_is_missing_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(folder))}.*{re.escape(Path(file).name)}"):
        READERS.get(file, open_checkpoint)(folder)


def test_a_file_that_the_index_names_and_that_is_missing_is_named(sharded: Path) -> None:
    path = sharded / "model-00002-of-00003.safetensors"
    path.unlink()
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        open_checkpoint(sharded)


def test_a_missing_file_is_damage_and_not_a_missing_checkpoint(folder: Path) -> None:
    """`checkpoint_not_found` means that there is no checkpoint, `checkpoint_invalid` that a file of it is missing."""
    (folder / ADAPTERS).unlink()
    with pytest.raises(CheckpointInvalidError):
        open_checkpoint(folder)


@pytest.mark.parametrize("file", READERS)
@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe{}", b"<!doctype html>"])
def test_a_file_that_is_no_json_object_is_named(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(folder / file))):
        READERS[file](folder)


def test_a_tokenizer_without_the_image_tokens_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("<|image_pad|>", "<|no_pad|>"), encoding="utf-8")
    with pytest.raises(CheckpointInvalidError, match=re.escape("<|image_pad|>")):
        load_tokenizer(path)


# config.json


@pytest.mark.parametrize("architecture", ["JinaEmbeddingsV4Model", "Qwen2_5_VLForConditionalGeneration"])
def test_a_file_without_a_model_type_is_known_by_its_architecture(
    folder: Path, checkpoint: CheckpointMaker, architecture: str
) -> None:
    def change(config: dict[str, Any]) -> None:
        del config["model_type"]
        config["architectures"] = [architecture]

    edit_json(folder / "config.json", change)
    read, plain = read_config(folder), read_config(checkpoint())
    assert not read.names_model_type
    assert plain.names_model_type
    assert dataclasses.replace(read, names_model_type=True, architecture=plain.architecture) == plain


def test_other_libraries_get_a_file_with_the_model_type(
    folder: Path, tmp_path: Path, checkpoint: CheckpointMaker
) -> None:
    assert folder_with_model_type(folder, tmp_path) == folder
    edit_json(folder / "config.json", lambda config: config.pop("model_type"))
    made = folder_with_model_type(folder, tmp_path / "cache")
    assert read_config(made) == read_config(checkpoint())
    assert folder_with_model_type(folder, tmp_path / "cache") == made
    assert [path.name for path in made.iterdir()] == ["config.json"]


@pytest.mark.parametrize("engine", ["torch", "transformers"])
def test_a_model_without_a_model_type_gives_the_same_vectors(
    folder: Path, checkpoint: CheckpointMaker, engine: str
) -> None:
    edit_json(folder / "config.json", lambda config: config.pop("model_type"))
    with JinaEmbeddings(folder, engine=engine) as model, JinaEmbeddings(checkpoint(), engine=engine) as plain:
        assert np.array_equal(model.encode_text(["a text"]), plain.encode_text(["a text"]))


@pytest.mark.parametrize("architectures", [None, [], ["BertModel"]])
def test_a_file_with_neither_model_type_nor_architecture_is_refused(folder: Path, architectures: object) -> None:
    def change(config: dict[str, Any]) -> None:
        del config["model_type"]
        config["architectures"] = architectures

    edit_json(folder / "config.json", change)
    with pytest.raises(CheckpointInvalidError, match=r"config\.json.*model_type None.*JinaEmbeddingsV4Model"):
        open_checkpoint(folder)


@pytest.mark.parametrize("model_type", ["qwen2_vl", "bert", ["qwen2_5_vl"]])
def test_another_model_is_refused(folder: Path, model_type: object) -> None:
    edit_json(folder / "config.json", lambda config: config.update(model_type=model_type))
    with pytest.raises(CheckpointInvalidError, match=rf"{re.escape(repr(model_type))}.*qwen2_5_vl"):
        open_checkpoint(folder)


TEXT_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "max_position_embeddings",
)


def change_text_field(config: dict[str, Any], name: str, value: object) -> None:
    for fields in (config, config["text_config"]):
        if value is None:
            fields.pop(name, None)
        else:
            fields[name] = value


@pytest.mark.parametrize("name", TEXT_FIELDS)
def test_a_missing_text_field_is_named(folder: Path, name: str) -> None:
    edit_json(folder / "config.json", lambda config: change_text_field(config, name, None))
    with pytest.raises(CheckpointInvalidError, match=rf"config\.json.*'{name}'"):
        open_checkpoint(folder)


VISION_FIELDS = {
    "depth": "depth",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "out_hidden_size": "out_hidden_size",
    "patch_size": "patch_size",
    "temporal_patch_size": "temporal_patch_size",
    "spatial_merge_size": "spatial_merge_size",
    "in_channels": "in_channels",
    "num_heads": "num_heads",
    "window_size": "window_size",
    "fullatt_block_indexes": "full_attention_blocks",
}


@pytest.mark.parametrize("name", VISION_FIELDS)
def test_a_missing_vision_field_has_the_default_of_transformers(folder: Path, name: str) -> None:
    """transformers 4.49 writes only those that differ from it."""
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig

    edit_json(folder / "config.json", lambda config: config["vision_config"].pop(name, None))
    expected = getattr(Qwen2_5_VLVisionConfig(), name)
    assert getattr(read_config(folder).vision, VISION_FIELDS[name]) == (
        tuple(expected) if isinstance(expected, (list, tuple)) else expected
    )


def test_a_missing_vision_field_whose_default_contradicts_the_tensors_is_refused(folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config["vision_config"].pop("hidden_size"))
    with pytest.raises(CheckpointInvalidError, match=r"visual.*3584"):
        open_checkpoint(folder)


def test_missing_vision_fields_are_named(folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config.pop("vision_config"))
    with pytest.raises(CheckpointInvalidError, match=r"config\.json.*'vision_config'"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", "128"),
        ("num_hidden_layers", "3"),
        ("num_hidden_layers", 3.0),
        ("num_attention_heads", 0),
        ("vocab_size", None),
        ("max_position_embeddings", "long"),
    ],
)
def test_a_text_field_that_is_no_positive_integer_is_refused(folder: Path, name: str, value: object) -> None:
    edit_json(folder / "config.json", lambda config: change_text_field(config, name, value))
    with pytest.raises(CheckpointInvalidError):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"vision_config": None},
        {"text_config": "qwen"},
        {"architectures": 3},
        {"task_names": 3},
        {"matryoshka_dims": 64},
        {"matryoshka_dims": ["64"]},
        {"matryoshka_dims": [64, 256]},
        {"truncate_dim": 33},
        {"truncate_dim": 64.0},
        {"truncate_dim": "64"},
        {"truncate_dim": 0},
        {"task_names": ["retrieval", "clustering"]},
    ],
    ids=str,
)
def test_a_field_of_another_type_is_refused_with_the_file(folder: Path, changes: dict[str, Any]) -> None:
    edit_json(folder / "config.json", lambda config: config.update(changes))
    with pytest.raises(CheckpointInvalidError, match=r"config\.json"):
        open_checkpoint(folder)


def test_a_text_config_of_null_is_ignored(folder: Path, checkpoint: CheckpointMaker) -> None:
    edit_json(folder / "config.json", lambda config: config.update(text_config=None))
    assert open_checkpoint(folder).config == open_checkpoint(checkpoint()).config


# Adapters

LORA = "base_model.model.model.language_model.layers"


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("module", [f"{LORA}.1.mlp.up_proj", "base_model.model.multi_vector_projector"])
def test_an_adapter_without_one_of_its_matrices_is_named(folder: Path, module: str, side: str) -> None:
    edit_tensors(folder / ADAPTERS, lambda tensors: tensors.pop(f"{module}.lora_{side}.code.weight"))
    ending = re.escape(f"{module.removeprefix('base_model.model.')}.lora_{side}.code.weight")
    with pytest.raises(CheckpointInvalidError, match=rf"{re.escape(str(folder / ADAPTERS))}.*{ending}"):
        open_checkpoint(folder)


@pytest.mark.parametrize(("side", "wrong"), [("A", [8, 127]), ("A", [4, 128]), ("B", [255, 8]), ("B", [8, 256])])
def test_an_adapter_tensor_of_another_shape_is_named_with_both_shapes(
    folder: Path, side: str, wrong: list[int]
) -> None:
    name = f"{LORA}.1.mlp.up_proj.lora_{side}.code.weight"
    expected = {"A": [8, 128], "B": [256, 8]}[side]
    edit_tensors(folder / ADAPTERS, lambda tensors: tensors.update({name: torch.zeros(wrong)}))
    with pytest.raises(CheckpointInvalidError) as error:
        open_checkpoint(folder)
    for part in (str(folder / ADAPTERS), name, str(wrong), str(expected)):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        f"{LORA}.3.mlp.up_proj.lora_A.code.weight",
        f"{LORA}.0.mlp.side_proj.lora_A.code.weight",
        f"{LORA}.0.mlp.up_proj.lora_A.clustering.weight",
        f"{LORA}.0.mlp.up_proj.lora_A.weight",
        f"{LORA}.0.mlp.up_proj.lora_C.code.weight",
        f"{LORA}.0.mlp.up_proj.lora_A.code.bias",
        "base_model.model.visual.blocks.0.attn.qkv.lora_A.code.weight",
        "something else",
    ],
)
def test_an_adapter_tensor_of_no_layer_is_named(folder: Path, name: str) -> None:
    edit_tensors(folder / ADAPTERS, lambda tensors: tensors.update({name: torch.zeros(8, 128)}))
    with pytest.raises(CheckpointInvalidError, match=re.escape(name)) as error:
        open_checkpoint(folder)
    assert str(folder / ADAPTERS) in str(error.value)


def test_adapters_of_the_older_names_are_the_same(folder: Path, checkpoint: CheckpointMaker) -> None:
    def rename(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[name.replace("model.language_model.layers", "model.layers")] = tensors.pop(name)

    edit_tensors(folder / ADAPTERS, rename)
    older, newer = open_checkpoint(folder).adapters, open_checkpoint(checkpoint()).adapters
    assert older is not None
    assert newer is not None
    assert set(older.pairs) == set(newer.pairs)
    assert older.num_bytes == newer.num_bytes


@pytest.mark.parametrize("rank", [4, 16, 0, -8, None, "eight", [8]])
def test_a_rank_that_contradicts_the_tensors_is_refused(folder: Path, rank: object) -> None:
    edit_json(folder / ADAPTER_CONFIG, lambda config: config.update(r=rank))
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(folder / "adapters"))):
        open_checkpoint(folder)


@pytest.mark.parametrize("missing", ["r", "lora_alpha"])
def test_missing_rank_or_alpha_is_named(folder: Path, missing: str) -> None:
    edit_json(folder / ADAPTER_CONFIG, lambda config: config.pop(missing))
    with pytest.raises(CheckpointInvalidError, match=f"adapter_config.*{missing}"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 16}},
        {"lora_alpha": "much"},
    ],
    ids=str,
)
def test_dora_rslora_and_rank_patterns_are_refused(folder: Path, changes: dict[str, Any]) -> None:
    edit_json(folder / ADAPTER_CONFIG, lambda config: config.update(changes))
    with pytest.raises(CheckpointInvalidError, match=re.escape(str(folder / ADAPTER_CONFIG))):
        open_checkpoint(folder)


def test_the_scaling_is_alpha_over_rank(checkpoint: CheckpointMaker) -> None:
    adapters = open_checkpoint(checkpoint(dtype="float32", lora_alpha=20)).adapters
    assert adapters is not None
    assert (adapters.rank, adapters.scaling) == (8, 2.5)


# Names that are no folder


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./no_folder", "../no_folder", "~/no_folder", "~no_such_user/x", "a/b/c", "a b/c?"]
)
def test_a_name_that_is_neither_a_folder_nor_a_hub_id_is_not_looked_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match=re.escape(name)):
        open_checkpoint(name)


def test_a_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"file.*folder that holds config\.json"):
        open_checkpoint(folder / "config.json")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path))):
        open_checkpoint(tmp_path)


def test_a_path_object_is_never_a_hub_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(CheckpointNotFoundError, match="models/mine"):
        open_checkpoint(Path("models/mine"))


# Hub ids


class Hub:
    """Replaces `snapshot_download`: returns one folder for every id, or raises."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.error: Exception | None = None
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **options: Any) -> str:
        self.calls.append((args, options))
        if self.error is not None:
            raise self.error
        return str(self.folder)


@pytest.fixture
def hub(checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    hub = Hub(checkpoint())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    monkeypatch.chdir(tmp_path)
    return hub


def test_a_hub_download_gets_all_arguments(hub: Hub, tmp_path: Path) -> None:
    opened = open_checkpoint("org/name", revision="v1", cache_dir=str(tmp_path), local_files_only=True)
    ((args, options),) = hub.calls
    assert args == ("org/name",)
    assert options["revision"] == "v1"
    assert Path(options["cache_dir"]) == tmp_path
    assert options["local_files_only"] is True
    assert (opened.info.name, opened.info.revision) == ("org/name", "v1")
    assert opened.folder == hub.folder


def test_the_default_is_the_published_model_from_the_hubs_own_cache(hub: Hub) -> None:
    assert open_checkpoint().info.name == "jinaai/jina-embeddings-v4"
    ((args, options),) = hub.calls
    assert args == ("jinaai/jina-embeddings-v4",)
    assert (options["revision"], options["cache_dir"], options["local_files_only"]) == (None, None, False)


def test_the_class_passes_hub_arguments_on(hub: Hub, tmp_path: Path) -> None:
    hub.error = LocalEntryNotFoundError("not here")
    with pytest.raises(CheckpointNotFoundError):
        JinaEmbeddings("org/name", engine="torch", revision="v1", cache_dir=tmp_path, local_files_only=True)
    ((_, options),) = hub.calls
    assert (options["revision"], Path(options["cache_dir"]), options["local_files_only"]) == ("v1", tmp_path, True)


def test_all_files_that_are_read_are_downloaded_and_no_code(hub: Hub) -> None:
    open_checkpoint("org/name")
    patterns = hub.calls[0][1]["allow_patterns"]
    wanted = [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "adapters/adapter_config.json",
        "adapters/adapter_model.safetensors",
    ]
    unwanted = ["modeling_jina_embeddings_v4.py", "pytorch_model.bin", "custom_st.py", "model.pt", "x.pkl"]
    assert list(filter_repo_objects([*wanted, *unwanted], allow_patterns=patterns)) == wanted


@pytest.mark.parametrize(("name", "task"), MERGED_REPOSITORIES.items())
def test_a_published_merged_checkpoint_is_known_by_its_name(
    hub: Hub, checkpoint: CheckpointMaker, name: str, task: str
) -> None:
    hub.folder = checkpoint(layout="merged", task="code")
    assert open_checkpoint(name).tasks == (task,)
    other = next(other for other in TASKS if other != task)
    with pytest.raises(TaskUnavailableError, match=f"was merged for {task}, not '{other}'"):
        open_checkpoint(name, task=other)


def answer(kind: type[Exception]) -> Exception:
    """Makes an error of huggingface_hub, which normally needs a response, without one."""
    error = kind.__new__(kind)
    error.args = ("404",)
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (answer(RepositoryNotFoundError), "HF_TOKEN"),
        (answer(GatedRepoError), "HF_TOKEN"),
        (answer(RevisionNotFoundError), "no revision 'v1'"),
        (HFValidationError("bad name"), "neither a folder nor a hub id"),
        (LocalEntryNotFoundError("not here"), "HF_HUB_OFFLINE"),
        (OfflineModeIsEnabled("offline"), "org/name"),
        (ConnectionError("no route"), "no route"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_hub_become_checkpoint_not_found(hub: Hub, error: Exception, message: str) -> None:
    hub.error = error
    with pytest.raises(CheckpointNotFoundError, match="org/name") as raised:
        open_checkpoint("org/name", revision="v1")
    assert message in str(raised.value)
    assert raised.value.__cause__ is error


def test_offline_an_unknown_id_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    monkeypatch.chdir(tmp_path)
    for options in ({}, {"local_files_only": True}, {"revision": "v1"}):
        with pytest.raises(CheckpointNotFoundError, match="nobody/nothing"):
            open_checkpoint("nobody/nothing", cache_dir=tmp_path, **options)


def fill_cache(cache: Path, folder: Path, name: str, commit: str) -> None:
    """The hub cache as a download leaves it: blobs, and a snapshot of links to them."""
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        blob = home / "blobs" / f"{number:040x}"
        blob.parent.mkdir(exist_ok=True)
        shutil.copy(path, blob)
        link = home / "snapshots" / commit / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))


def test_a_snapshot_in_the_hubs_cache_is_used_offline(
    checkpoint: CheckpointMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, commit = checkpoint(), "c0ffee" * 6 + "beef"
    fill_cache(tmp_path, folder, "org/name", commit)
    for revision in (None, "main", commit):
        opened = open_checkpoint("org/name", revision=revision, cache_dir=tmp_path, local_files_only=True)
        assert opened.tasks == TASKS
        assert opened.folder.name == commit
    with pytest.raises(CheckpointNotFoundError, match="org/name"):
        open_checkpoint("org/name", revision="v2", cache_dir=tmp_path)
    with JinaEmbeddings("org/name", engine="torch", cache_dir=tmp_path) as model:
        vector = model.encode_text("a text")
    with JinaEmbeddings(folder, engine="torch") as model:
        assert np.array_equal(model.encode_text("a text"), vector)


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
