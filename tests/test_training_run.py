"""A run of training on two GPUs keeps what it has made, with stages that only pretend."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

import carry

TRAINING = Path(carry.__file__).parent

# Leaves what the real stages leave: the text model when it is done, then the tower, for which the adapters wait.
STAGES = """
import argparse, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--work", type=Path)
parser.add_argument("--stages")
parser.add_argument("--tower", type=Path)
options, _ = parser.parse_known_args()
options.work.mkdir(parents=True, exist_ok=True)
student = options.work / "student.safetensors"
if options.stages == "vision":
    tower = options.tower.read_text() if options.tower else "start"
    student.write_text(f"{student.read_text()}, tower ({tower})" if student.exists() else "early tower")
else:
    student.write_text("texts")
    if Path("fails").exists():
        sys.exit("no memory left")
    while not options.tower.is_file():
        time.sleep(0.1)
    (options.work / "checkpoint").mkdir()
    (options.work / "checkpoint" / "model.safetensors").write_text(options.tower.read_text() + ", adapters")
(options.work / "log.json").write_text("[]")
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "training" / "build" / "train").mkdir(parents=True)
    for name in ("run_two.sh", "carry.py"):
        shutil.copy(TRAINING / name, tmp_path / "training")
    (tmp_path / "training" / "train.py").write_text(STAGES)
    return tmp_path


def run(here: Path, **variables: str) -> int:
    """Work and results lie elsewhere than the repository, as on another machine."""
    variables |= {
        "START": "start",
        "WORK": str(here / "elsewhere"),
        "OUT": str(here / "results"),
        "PATH": "/usr/bin:/bin",
    }
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    return subprocess.run(["bash", "training/run_two.sh"], cwd=here, env=variables, timeout=60).returncode


@pytest.mark.parametrize(("gpu", "tower"), [("0", "start"), ("1", "early tower")])
def test_texts_tower_and_checkpoint_are_kept(here: Path, gpu: str, tower: str) -> None:
    assert run(here, SECOND_GPU=gpu) == 0
    for name in ("text", "checkpoint"):
        carry.unpack(here / "results" / name, here / name)
    assert (here / "text" / "tower" / "student.safetensors").read_text() == "texts"
    assert (here / "checkpoint/text/checkpoint/model.safetensors").read_text() == f"texts, tower ({tower}), adapters"


def test_a_stage_that_fails_ends_the_run(here: Path) -> None:
    (here / "fails").touch()
    assert run(here) != 0
    assert "no memory left" in (here / "elsewhere" / "text.log").read_text()
