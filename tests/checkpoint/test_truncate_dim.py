"""A `truncate_dim` in config.json is the size of vectors of calls that name none, as in the published code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Index
from jina_embeddings.apps.matching import Matcher
from jina_embeddings.cli import app
from jina_embeddings.pipeline.provenance import Form, made_by

if TYPE_CHECKING:
    from conftest import CheckpointMaker

TEXTS = ["one text", "another one"]


@pytest.fixture(scope="module")
def folder(checkpoint: CheckpointMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("truncated") / "tiny"
    shutil.copytree(checkpoint(dtype="float32"), made)
    config = json.loads((made / "config.json").read_text(encoding="utf-8"))
    (made / "config.json").write_text(json.dumps({**config, "truncate_dim": 32}), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[JinaEmbeddings]:
    with JinaEmbeddings(folder, engine="torch") as loaded:
        yield loaded


def test_a_call_that_names_no_size_gets_the_checkpoints(model: JinaEmbeddings, torch_model: JinaEmbeddings) -> None:
    assert model.info.truncate_dim == 32
    assert torch_model.info.truncate_dim is None
    expected = torch_model.encode_text(TEXTS, truncate_dim=32)
    for method in (model.encode_text, model.encode):
        assert np.allclose(method(TEXTS), expected, atol=1e-6)
    assert np.allclose(list(model.stream(TEXTS)), expected, atol=1e-6)
    assert model.encode_image(np.zeros((56, 56, 3), dtype=np.uint8)).shape == (32,)
    assert model.encode_text(["", ""], on_error="skip").embeddings.shape == (0, 32)


def test_a_call_may_name_another_size_the_whole_one_too(model: JinaEmbeddings, torch_model: JinaEmbeddings) -> None:
    for dim in (16, 128):
        expected = torch_model.encode_text(TEXTS, truncate_dim=dim)
        assert np.allclose(model.encode_text(TEXTS, truncate_dim=dim), expected, atol=1e-6)


def test_multivectors_are_whole(model: JinaEmbeddings, torch_model: JinaEmbeddings) -> None:
    expected = torch_model.encode_text("one text", return_multivector=True)
    assert model.encode_text("one text", return_multivector=True).shape == expected.shape


def test_what_is_written_down_says_the_size(model: JinaEmbeddings, folder: Path, tmp_path: Path) -> None:
    assert made_by(model, Form())["dimension"] == 32
    assert made_by(model, Form(truncate_dim=64))["dimension"] == 64
    assert Matcher(model).vectors([]).shape == (0, 32)
    output = tmp_path / "v.parquet"
    arguments = ["embed", "-", "-o", str(output), "--model", str(folder), "--engine", "torch"]
    result = CliRunner().invoke(app, arguments, input="one\n", catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert pq.read_schema(output).metadata[b"dimension"] == b"32"
    assert len(pq.read_table(output)["embedding"][0]) == 32


def test_an_index_is_made_in_that_size(model: JinaEmbeddings, tmp_path: Path) -> None:
    assert Index.open(tmp_path / "index", model, create=True).store.fingerprint.dimension == 32
