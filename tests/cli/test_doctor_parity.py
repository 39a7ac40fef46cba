"""`jina-embeddings doctor --parity`: which engines are compared, and what counts as the same."""

from __future__ import annotations

import json
import math
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

import jina_embeddings
from doctor_command import COMMAND, doctor, problem_of
from jina_embeddings.cli import app
from jina_embeddings.cli.doctor import parity
from jina_embeddings.cli.doctor.parity import LIMITS, Comparison, Side
from jina_embeddings.cli.doctor.report import Report

if TYPE_CHECKING:
    from conftest import CheckpointMaker

pytestmark = pytest.mark.usefixtures("doctor_environment")


@pytest.mark.long
def test_parity_of_two_dtypes_of_a_real_engine(checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "_TEXTS", parity._TEXTS[:4])
    folder = str(checkpoint(dtype="float32"))
    arguments = ["doctor", "--model", folder, "--parity", "--engine", "transformers"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stdout
    assert "compared              transformers in float32 with transformers in bfloat16" in result.stdout
    assert "one engine in two dtypes" in result.stdout
    table = result.stdout.partition("  cosines\n")[2].splitlines()[:7]
    assert table[0].split() == ["task", "form", "texts", "image", "least", "token"]
    assert [line.split()[:2] for line in table[1:]] == [
        [task, form] for task in ("retrieval", "text-matching", "code") for form in ("dense", "multi-vector")
    ]
    for line in table[1:]:
        # Two dtypes that gave equal vectors would be one dtype.
        assert LIMITS["bfloat16"] <= float(line.split()[2]) < 1


def test_parity_of_a_merged_checkpoint_is_that_of_its_task(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "_TEXTS", ("one short text",))
    folder = str(checkpoint(layout="merged", task="code", dtype="float32"))
    _, report = doctor("--model", folder, "--task", "code", "--parity", "--engine", "transformers")
    assert [(row["task"], row["form"]) for row in report["parity"]["cosines"]] == [("code", "dense")]


@pytest.mark.parametrize(
    ("row", "dtype", "same"),
    [
        (Comparison("code", "dense", 0.99991, 0.99999, None), "float32", True),
        (Comparison("code", "dense", 0.99989, 1.0, None), "float32", False),
        (Comparison("code", "dense", 1.0, 0.99989, None), "float32", False),
        (Comparison("code", "dense", math.nan, 1.0, None), "float32", False),
        (Comparison("code", "dense", 0.9991, 0.9991, None), "bfloat16", True),
        (Comparison("code", "dense", 0.9989, 1.0, None), "bfloat16", False),
        (Comparison("code", "multi-vector", 0.9995, 0.9995, 0.99), "bfloat16", True),
        (Comparison("code", "multi-vector", 1.0, 1.0, 0.9998), "float32", False),
        (Comparison("code", "multi-vector", 1.0, 1.0, 0.99999), "float32", True),
    ],
)
def test_vectors_that_differ_are_a_problem(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch, row: Comparison, dtype: str, same: bool
) -> None:
    monkeypatch.setattr(parity, "choose_sides", lambda *_: (Side("vllm", dtype), Side("transformers", dtype)))
    monkeypatch.setattr(parity, "compare", lambda *_: [row])
    status, report = doctor("--model", str(checkpoint(dtype="float32")), "--parity", "--engine", "fake")
    assert (status == 0) == same
    assert report["parity"]["compared"] == f"vllm in {dtype} with transformers in {dtype}"
    if not same:
        assert "code, " in report["problems"][0]["what"]


def test_cosines_see_direction_length_and_number_of_tokens() -> None:
    vectors = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    turned = vectors.copy()
    turned[2] *= -1
    assert np.allclose(parity._cosines(vectors, 3 * vectors), 1)
    assert np.allclose(parity._cosines(vectors, turned), [1, 1, -1, 1])
    assert parity._cosines(vectors[0], vectors[0]).shape == (1,)
    assert parity._cosines(vectors, vectors[:3]).tolist() == [-1.0]


@pytest.mark.parametrize(
    ("engine", "dtype", "vllm", "gpus", "sides"),
    [
        ("auto", "auto", True, [], "vllm in float32 / transformers in float32"),
        ("auto", "auto", True, ["gpu"], "vllm in bfloat16 / transformers in bfloat16"),
        ("vllm", "float32", True, ["gpu"], "vllm in float32 / transformers in float32"),
        ("auto", "auto", False, [], "torch in float32 / transformers in float32"),
        ("vllm", "bfloat16", False, [], "torch in bfloat16 / transformers in bfloat16"),
        ("torch", "auto", True, [], "torch in float32 / transformers in float32"),
        ("transformers", "auto", True, [], "transformers in float32 / transformers in bfloat16"),
        ("transformers", "float16", True, [], "transformers in float32 / transformers in float16"),
    ],
)
def test_what_is_compared(engine: str, dtype: str, vllm: bool, gpus: list[str], sides: str) -> None:
    report = Report({"engines": [{"engine": "vllm", "runs": vllm}], "gpus": gpus})
    assert " / ".join(map(str, parity.choose_sides(report, engine, dtype))) == sides


def test_an_engine_that_fails_in_parity_is_a_problem(
    checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise jina_embeddings.errors.OutOfMemoryError("too large")

    monkeypatch.setattr(parity, "compare", fail)
    folder = str(checkpoint(dtype="float32"))
    assert problem_of("--model", folder, "--parity").startswith("parity: too large | ")


# Slow: loads both engines in a process of its own. `make demo` runs the same command on `pocket`.
@pytest.mark.slow
@pytest.mark.engine
def test_parity_of_vllm_and_transformers(checkpoint: CheckpointMaker) -> None:
    folder = str(checkpoint(dtype="float32"))
    command = [*COMMAND, "--model", folder, "--parity", "--engine", "vllm", "--dtype", "float32", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert done.returncode == 0, report["problems"]
    assert report["parity"]["compared"] == "vllm in float32 with transformers in float32"
    assert len(report["parity"]["cosines"]) == 6
    assert min(row["image"] for row in report["parity"]["cosines"]) > LIMITS["float32"]
    assert done.stderr == ""
