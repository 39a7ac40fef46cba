"""config.json: fields that are missing, wrong, or left at transformers' defaults."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from checkpoint_files import edit_json
from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.checkpoint.config import read_config
from jina_embeddings.checkpoint.model_type import folder_with_model_type
from jina_embeddings.errors import CheckpointInvalidError

if TYPE_CHECKING:
    from conftest import CheckpointMaker


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
    """transformers 4.49 writes only the fields that differ from their defaults."""
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
