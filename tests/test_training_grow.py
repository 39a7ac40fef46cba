"""A deeper checkpoint that gives the same vectors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

from average import WEIGHTS
from grow import grow, grown
from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint import resolve

POCKET = resolve("pocket")
TEXTS = ["How is bread made?", "A harbour with boats.", "def add(a, b): return a + b"]


@pytest.mark.parametrize("task", ["retrieval", "code"])
def test_it_embeds_as_before(tmp_path: Path, task: str) -> None:
    grow(POCKET, tmp_path / "deeper", {2, 5})
    vectors = []
    for folder in (POCKET, tmp_path / "deeper"):
        with JinaEmbeddings(folder, engine="torch") as model:
            dense = model.encode_text(TEXTS, task=task, prompt_name="query")
            tokens = model.encode_text(TEXTS, task=task, prompt_name="query", return_multivector=True)
            vectors.append(np.concatenate([dense.ravel(), *(rows.ravel() for rows in tokens)]))
    np.testing.assert_allclose(*vectors, atol=1e-6)


def test_layers_keep_their_order_and_copies_follow_what_they_copy() -> None:
    weights = load_file(POCKET / WEIGHTS)
    deeper = grown(weights, {1, 3})
    name = "model.layers.{}.mlp.gate_proj.weight"
    for new, old in enumerate((0, 0, 1, 2, 2, 3, 4, 5, 6, 7)):
        assert deeper[name.format(new)].equal(weights[name.format(old)])
    assert not deeper["model.layers.1.self_attn.o_proj.weight"].any()
    assert deeper["model.norm.weight"] is weights["model.norm.weight"]


def test_a_layer_that_isnt_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has layers 1 to 8, none of number 9"):
        grow(POCKET, tmp_path / "deeper", {9})
    assert not (tmp_path / "deeper").exists()
