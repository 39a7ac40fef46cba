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
    ("lengths", "num_heads", "size", "per"),
    [
        ([64, 16, 1, 40], 2, 80, 1),
        ([64, 16, 1, 40], 4, 80, 2),
        ([64, 5], 3, 80, 3),
        ([64, 64], 1, 64, 1),
        ([3, 5], 2, 16, 2),
        ([63], 1, 96, 1),
    ],
)
def test_the_kernel_rotates_and_attends_within_each_window(
    tmp_path: Path, lengths: list[int], num_heads: int, size: int, per: int
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
    given = (heads.clone(), table, bounds, size**-0.5, out[:-1], per)
    found = interpreted(tmp_path, "windows_triton", "attend", *given)
    attended = found[4].as_strided(out.shape, out.stride())
    assert torch.allclose(attended[:-1].double(), expected, atol=1e-5)
    assert bool((attended[-1] == 7).all())
    assert torch.equal(found[0], heads)


def test_a_lone_page_has_a_program_for_each_head_and_many_pages_one_for_each_window() -> None:
    from jina_embeddings.plugin.kernels.windows_triton import heads_per_program, variants

    chosen = {windows: heads_per_program(windows, 16, 132) for windows in (1, 46, 164, 165, 184, 659, 660, 920)}
    assert chosen == {1: 1, 46: 1, 164: 1, 165: 4, 184: 4, 659: 4, 660: 16, 920: 16}
    # Tensor parallelism leaves each device some of the heads, and other models have other numbers of them.
    assert [heads_per_program(10_000, heads, 132) for heads in (1, 6, 8)] == [1, 6, 8]
    assert heads_per_program(100, 6, 132) == 1
    assert [sorted(variants(heads)) for heads in (1, 6, 16)] == [[1], [1, 6], [1, 4, 16]]
