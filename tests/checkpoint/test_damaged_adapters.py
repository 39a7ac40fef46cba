"""Adapters that contradict their configuration or the model are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from checkpoint_files import ADAPTER_CONFIG, ADAPTERS, Tensors, edit_json, edit_tensors
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.errors import CheckpointInvalidError

if TYPE_CHECKING:
    from conftest import CheckpointMaker


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
