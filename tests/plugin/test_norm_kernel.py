"""The Triton kernel of norms with an offset, in Triton's interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn.functional import rms_norm

from interpreted import interpreted

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("triton")
pytestmark = pytest.mark.long


def test_the_kernel_norms_the_sum_of_each_row_and_the_offset(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, weight, offset = torch.randn(5, 80), torch.rand(80) + 0.5, torch.randn(80)
    expected = rms_norm(x + offset, (80,), weight, 1e-6)
    found = interpreted(tmp_path, "norms_triton", "norm", x, offset, weight, 1e-6, torch.full((5, 80), torch.nan))
    assert torch.allclose(found[4], expected, atol=1e-5)
