"""What is carried to another machine arrives whole, or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

import carry


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "here" / "build"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "texts").write_bytes(np.random.default_rng(0).bytes(250_000))
    (folder / "tokenizer.json").write_text("{}")
    things = [folder / "train", folder / "tokenizer.json"]
    assert carry.pack(tmp_path / "parts", things, 100_000, tmp_path / "here") == 3
    return tmp_path


def test_parts_are_small_and_give_the_files_back(packed: Path):
    assert max(part.stat().st_size for part in (packed / "parts").iterdir()) <= 100_000
    carry.unpack(packed / "parts", packed / "there")
    for name in ("build/train/texts", "build/tokenizer.json"):
        assert (packed / "there" / name).read_bytes() == (packed / "here" / name).read_bytes()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_part_is_told(packed: Path, number: int):
    (packed / "parts" / f"part-{number:02}").unlink()
    with pytest.raises(ValueError, match="2 parts"):
        carry.unpack(packed / "parts", packed / "there")


def test_packing_again_leaves_no_old_parts(packed: Path):
    carry.pack(packed / "parts", [packed / "here" / "build" / "tokenizer.json"], 100_000, packed / "here")
    carry.unpack(packed / "parts", packed / "there")
    assert [path.name for path in (packed / "there" / "build").iterdir()] == ["tokenizer.json"]
