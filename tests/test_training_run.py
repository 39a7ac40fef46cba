"""A run of training on several GPUs keeps what it has made, with stages that only pretend."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

import carry

TRAINING = Path(carry.__file__).parent

# Leaves what the real stages leave: the text model when it is done, and at the end the checkpoint.
STAGES = """
import argparse, os, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--work", type=Path)
options, _ = parser.parse_known_args()
if os.environ["RANK"] == "0":
    (options.work / "student.safetensors").write_text("texts")
    while not Path(os.environ["OUT"], "text", "sha256").is_file():
        time.sleep(0.1)
    if Path("fails").exists():
        sys.exit("no memory left")
    (options.work / "checkpoint").mkdir()
    (options.work / "checkpoint" / "model.safetensors").write_text("texts of " + os.environ["WORLD_SIZE"])
    (options.work / "log.json").write_text("[]")
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "training" / "build" / "train").mkdir(parents=True)
    for name in ("run_on.sh", "carry.py"):
        shutil.copy(TRAINING / name, tmp_path / "training")
    (tmp_path / "training" / "train.py").write_text(STAGES)
    return tmp_path


def run(here: Path) -> subprocess.CompletedProcess[str]:
    """Work and results lie elsewhere than the repository, as on another machine."""
    variables = {
        "START": "start",
        "WORK": str(here / "elsewhere"),
        "OUT": str(here / "results"),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    command = ["bash", "training/run_on.sh"]
    return subprocess.run(command, cwd=here, env=variables, timeout=120, capture_output=True, text=True)


def test_text_model_and_checkpoint_are_kept(here: Path) -> None:
    assert run(here).returncode == 0
    for name in ("text", "checkpoint"):
        carry.unpack(here / "results" / name, here / name)
    assert (here / "text" / "student.safetensors").read_text() == "texts"
    assert (here / "checkpoint" / "checkpoint" / "model.safetensors").read_text() == "texts of 2"


def test_a_stage_that_fails_ends_the_run_and_leaves_the_text_model(here: Path) -> None:
    (here / "fails").touch()
    ended = run(here)
    assert ended.returncode != 0
    assert "no memory left" in ended.stderr
    assert (here / "results" / "text" / "sha256").is_file()
    assert not (here / "results" / "checkpoint").exists()


def test_what_an_earlier_run_left_is_not_taken_for_the_start(here: Path) -> None:
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "student.safetensors").write_text("old texts")
    ended = run(here)
    assert ended.returncode != 0
    assert "choose another WORK" in ended.stderr
    assert not (here / "results").exists()
