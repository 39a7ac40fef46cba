"""Checkpoints of their own for tests that damage them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checkpoint_files import copy_of

if TYPE_CHECKING:
    from conftest import CheckpointMaker


@pytest.fixture
def folder(checkpoint: CheckpointMaker, tmp_path: Path) -> Path:
    """A multi-task checkpoint that a test may damage."""
    return copy_of(checkpoint(), tmp_path)


@pytest.fixture
def merged(checkpoint: CheckpointMaker, tmp_path: Path) -> Path:
    return copy_of(checkpoint(layout="merged", task="code"), tmp_path)
