"""The digest of a checkpoint: the same for a copy in other files, another for whatever changes vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkpoint_files import ADAPTER_CONFIG, ADAPTERS, WEIGHTS, Tensors, edit_json, edit_tensors
from jina_embeddings.checkpoint import open_checkpoint

CheckpointMaker = Callable[..., Path]


def test_it_is_of_tensors_however_files_hold_them(checkpoint: CheckpointMaker) -> None:
    layouts: list[dict[str, Any]] = [{"names": "legacy"}, {"names": "current"}, {"names": "current", "shards": 3}]
    assert len({open_checkpoint(checkpoint(**layout)).digest for layout in layouts}) == 1
    assert open_checkpoint(checkpoint(seed=1)).digest != open_checkpoint(checkpoint()).digest


def scaled(tensors: Tensors) -> None:
    name = max(tensors)
    tensors[name] = tensors[name] * 2


def change_norms(config: dict[str, Any]) -> None:
    config.get("text_config", config)["rms_norm_eps"] = 0.1


CHANGES: dict[str, Callable[[Path], None]] = {
    "weight": lambda folder: edit_tensors(folder / WEIGHTS, scaled),
    "adapter": lambda folder: edit_tensors(folder / ADAPTERS, scaled),
    "alpha": lambda folder: edit_json(folder / ADAPTER_CONFIG, lambda config: config.update(lora_alpha=7)),
    "norms": lambda folder: edit_json(folder / "config.json", change_norms),
    "tokenizer": lambda folder: edit_json(folder / "tokenizer.json", lambda content: content.update(padding=None, x=1)),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_it_changes_with_what_vectors_are_computed_from(folder: Path, changed: str) -> None:
    before = open_checkpoint(folder).digest
    CHANGES[changed](folder)
    assert open_checkpoint(folder).digest != before


def test_it_does_not_change_with_what_else_is_in_the_folder(folder: Path) -> None:
    before = open_checkpoint(folder).digest
    (folder / "README.md").write_text("a model")
    edit_json(
        folder / "config.json", lambda config: config.update(transformers_version="9.0", cautions={"image": "no"})
    )
    assert open_checkpoint(folder).digest == before
    assert len(before) == 32
