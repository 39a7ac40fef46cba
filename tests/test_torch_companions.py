"""Broken companions of torch are mended or hidden, healthy ones are left alone; each case in a process of its own.

Packages that break as the real ones do are made here, so that all of it is tested wherever the real ones work.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jina_embeddings import torch_companions

if TYPE_CHECKING:
    from conftest import CheckpointMaker

COMPANIONS = ("torchvision", "torchaudio", "torchcodec")

PackageMaker = Callable[[str, str], None]

# The first thing that importing torchvision does, which fails if its compiled operators couldn't be loaded.
REGISTERS_OPERATOR = """
import torch

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets
"""


def run(code: str, path: Path | None = None) -> Any:
    """What the code's last line prints as JSON, run in a new process with `path` first among the imports."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path or ""), os.environ.get("PYTHONPATH", "")])}
    code = f"import json, sys\nfrom jina_embeddings.torch_companions import repair\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def package(tmp_path: Path) -> PackageMaker:
    """`package(name, code)`: makes a companion that notes each time it is run, before its code; the others are
    healthy."""

    def make(name: str, code: str) -> None:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        note = f"with open({str(tmp_path / 'runs')!r}, 'a') as file: file.write({name + chr(10)!r})\n"
        (folder / "__init__.py").write_text(note + "from . import part\n" + code)
        (folder / "part.py").touch()

    for name in COMPANIONS:
        make(name, "healthy = True\n")
    return make


def num_runs(tmp_path: Path, name: str) -> int:
    runs = tmp_path / "runs"
    return runs.read_text().split().count(name) if runs.exists() else 0


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_the_installed_torchvision_works_after_a_repair() -> None:
    size, dtype, shape, equal = run("""
repair()
import torch, torchvision
from torchvision.transforms import functional, InterpolationMode
image = torch.rand(3, 20, 30)
resized = functional.resize(image, [7, 9], InterpolationMode.BILINEAR, antialias=True)
expected = torch.nn.functional.interpolate(image[None], size=(7, 9), mode="bilinear", antialias=True)[0]
bytes_ = functional.resize((image * 255).to(torch.uint8), [28, 28], InterpolationMode.BICUBIC, antialias=True)
flipped = functional.normalize(functional.hflip(image), [0.5] * 3, [0.5] * 3)
print(json.dumps([list(bytes_.shape), str(bytes_.dtype), list(flipped.shape), torch.allclose(resized, expected)]))
""")
    assert (size, dtype, shape, equal) == ([3, 28, 28], "torch.uint8", [3, 20, 30], True)


@pytest.mark.long
def test_a_torchvision_without_its_operators_is_repaired(package: PackageMaker, tmp_path: Path) -> None:
    package("torchvision", REGISTERS_OPERATOR)
    schema, is_new, implemented = run(
        """
from importlib import import_module
try:
    import torchvision
    raise SystemExit("the package is meant to be broken")
except RuntimeError:
    broken_part = sys.modules["torchvision.part"]
sys.modules.pop("torchvision", None)
repair()
import torch, torchvision
try:
    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    implemented = True
except NotImplementedError:
    implemented = False
schema = str(torch.ops.torchvision.nms.default._schema)
print(json.dumps([schema, torchvision.part is not broken_part, implemented]))
""",
        tmp_path,
    )
    assert schema == "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    assert is_new, "what the failed import left behind is imported anew"
    assert not implemented
    assert num_runs(tmp_path, "torchvision") == 3


@pytest.mark.long
def test_healthy_companions_are_imported_once_and_left_alone(package: PackageMaker, tmp_path: Path) -> None:
    healthy, needed_torch, declared = run(
        """
repair()
repair()
import torchaudio, torchcodec, torchvision
healthy = torchaudio.healthy and torchcodec.healthy and torchvision.healthy
needed_torch = "torch" in sys.modules
import torch
print(json.dumps([healthy, needed_torch, hasattr(torch.ops.torchvision, "nms")]))
""",
        tmp_path,
    )
    assert (healthy, needed_torch, declared) == (True, False, False)
    assert [num_runs(tmp_path, name) for name in COMPANIONS] == [1, 1, 1]


@pytest.mark.parametrize(
    "error", ['RuntimeError("CUDA driver too old")', 'ImportError("no libpng")', 'OSError("no libjpeg")']
)
def test_another_failure_of_torchvision_is_not_hidden(package: PackageMaker, tmp_path: Path, error: str) -> None:
    package("torchvision", f"raise {error}\n")
    kind = error.partition("(")[0]
    message = run(
        f"""
try:
    repair()
    print(json.dumps("nothing was raised"))
except {kind} as error:
    print(json.dumps(str(error)))
""",
        tmp_path,
    )
    assert message in error
    assert num_runs(tmp_path, "torchvision") == 1


@pytest.mark.parametrize(
    ("audio_error", "codec_error"), [("ImportError", "OSError"), ("RuntimeError", "ModuleNotFoundError")]
)
def test_broken_companions_that_nothing_needs_look_absent(
    package: PackageMaker, tmp_path: Path, audio_error: str, codec_error: str
) -> None:
    package("torchaudio", f"raise {audio_error}('undefined symbol')\n")
    package("torchcodec", f"raise {codec_error}('undefined symbol')\n")
    found, importable, left_over = run(
        """
import importlib.util
repair()
repair()
names = ["torchaudio", "torchcodec"]
importable = []
for name in names:
    try:
        importable.append(str(__import__(name)))
    except ModuleNotFoundError:
        pass
found = [name for name in names if importlib.util.find_spec(name) is not None]
left_over = [module for module in sys.modules if module.partition(".")[0] in names and "." in module]
print(json.dumps([found, importable, left_over]))
""",
        tmp_path,
    )
    assert (found, importable, left_over) == ([], [], [])
    assert [num_runs(tmp_path, name) for name in COMPANIONS] == [1, 1, 1]


def test_absent_companions_are_not_imported() -> None:
    loaded = run("""
import importlib.util
importlib.util.find_spec = lambda name, package=None: None
repair()
print(json.dumps([name for name in sys.modules if name.startswith("torch")]))
""")
    assert loaded == []


def test_a_second_call_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_companions.repair()
    modules = dict(sys.modules)
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"imports {name}"))
    torch_companions.repair()
    assert sys.modules == modules


@pytest.mark.parametrize(
    ("group", "value"),
    [
        ("vllm.platform_plugins", "jina_embeddings.torch_companions:repair"),
        ("vllm.general_plugins", "jina_embeddings.plugin:register"),
    ],
)
def test_vllm_finds_the_entry_points(group: str, value: str) -> None:
    (point,) = [point for point in entry_points(group=group) if point.value == value]
    assert callable(point.load())


def test_a_repair_is_no_platform() -> None:
    """vLLM takes any value but None as the name of a platform class."""
    assert torch_companions.repair() is None  # type: ignore[func-returns-value]


@pytest.mark.long
def test_transformers_may_have_been_imported_before(checkpoint: CheckpointMaker) -> None:
    """transformers caches which packages are installed, and would import one that was hidden later."""
    code = f"""
import transformers
from transformers.utils import is_torchaudio_available, is_torchvision_available
is_torchaudio_available(), is_torchvision_available()
from jina_embeddings import JinaEmbeddings
print(JinaEmbeddings({str(checkpoint())!r}, engine="transformers").encode_text("a").shape)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.strip() == "(128,)", result.stderr[-2000:]


@pytest.mark.long
def test_datasets_may_have_been_imported_before(package: PackageMaker, tmp_path: Path) -> None:
    """datasets notes that torchcodec is installed, and would import it once it is hidden."""
    package("torchcodec", "raise OSError('undefined symbol')\n")
    names = run(
        """
import datasets
repair()
print(json.dumps(datasets.Dataset.from_dict({"a": [1]}).column_names))
""",
        tmp_path,
    )
    assert names == ["a"]
