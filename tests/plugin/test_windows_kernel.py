"""The Triton kernel of attention in windows, in Triton's interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from interpreted import interpreted
from jina_embeddings.plugin.kernels.windows import attention_in_torch

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("triton")
pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("lengths", "num_heads", "size"),
    [
        ([64, 16, 1, 40], 2, 80),
        ([64, 16, 1, 40], 8, 80),
        ([64, 5], 3, 80),
        ([64, 64], 1, 64),
        ([3, 5], 6, 16),
        ([63], 1, 96),
    ],
)
def test_the_kernel_rotates_and_attends_within_each_window(
    tmp_path: Path, lengths: list[int], num_heads: int, size: int
) -> None:
    torch.manual_seed(0)
    tokens = sum(lengths)
    heads = torch.randn(tokens, 3 * num_heads, size)
    angles = torch.randn(tokens, size // 2)
    table = torch.cat([angles.cos(), angles.sin()], dim=-1)
    bounds = torch.tensor([0, *lengths]).cumsum(0).int()
    expected = attention_in_torch(heads.double(), table.double(), lengths)
    # One row more, which must stay as it is.
    out = torch.full((tokens + 1, num_heads, size), 7.0)
    given = (heads.clone(), table, bounds, size**-0.5, out[:-1])
    found = interpreted(tmp_path, "windows_triton", "attend", *given)
    attended = found[4].as_strided(out.shape, out.stride())
    assert torch.allclose(attended[:-1].double(), expected, atol=1e-5)
    assert bool((attended[-1] == 7).all())
    assert torch.equal(found[0], heads)
