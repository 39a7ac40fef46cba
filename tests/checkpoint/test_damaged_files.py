"""Damaged and missing files of a checkpoint are named in the error."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoint_files import ADAPTER_CONFIG, ADAPTERS, WEIGHTS, copy_of, edit_json, edit_tensors
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.checkpoint.tensors import read_header
from jina_embeddings.checkpoint.tokenizer import load_tokenizer
from jina_embeddings.errors import CheckpointError, CheckpointInvalidError
from jina_embeddings.inputs.processor import read_image_config

if TYPE_CHECKING:
    from conftest import CheckpointMaker


INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(checkpoint: CheckpointMaker, tmp_path: Path) -> Path:
    return copy_of(checkpoint(shards=3), tmp_path)


def write_safetensors(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> None:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)


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
