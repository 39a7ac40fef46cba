"""The Triton kernel of rotary embedding, in Triton's interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from interpreted import interpreted
from jina_embeddings.plugin.kernels import rotary

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("triton")
pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("tokens", "heads", "beside", "size", "dtype"),
    [(1, 18, 2, 128, torch.float32), (7, 4, 2, 80, torch.float32), (6, 3, 0, 64, torch.float16)],
)
def test_the_kernel_rotates_heads_as_torch_does_and_changes_no_others(
    tmp_path: Path, tokens: int, heads: int, beside: int, size: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    everything = torch.randn(tokens, heads + beside, size).to(dtype)
    angles = torch.randn(tokens, size // 2)
    table = torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
    expected = everything.double()
    rotary.rotate(expected[:, :heads], table.double())
    tolerance = 2 * torch.finfo(dtype).eps
    turned = interpreted(tmp_path, "rotary_triton", "turn", everything[:, :heads], table)[0]
    # The tensor was pickled with its whole storage.
    whole = turned.as_strided(everything.shape, everything.stride())
    assert torch.allclose(whole.double(), expected, atol=tolerance, rtol=tolerance)
    assert torch.equal(whole[:, heads:], everything[:, heads:])
