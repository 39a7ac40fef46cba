"""The Triton kernel of causal attention, in Triton's interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from interpreted import interpreted
from jina_embeddings.plugin.kernels.causal import attended, attention_in_torch

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("triton")
pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("lengths", "queries", "groups", "size"),
    [([5, 70, 1, 20], 4, 2, 16), ([130], 2, 1, 32), ([64, 64], 2, 2, 24), ([1], 1, 1, 16)],
)
def test_the_kernel_rotates_and_attends_to_the_tokens_before(
    tmp_path: Path, lengths: list[int], queries: int, groups: int, size: int
) -> None:
    check(tmp_path, lengths, [0] * len(lengths), None, queries, groups, size)


def test_a_prefix_that_prompts_share_is_attended_to_from_each_of_them(tmp_path: Path) -> None:
    """The second and third prompt begin with three tokens of the first; 75 tokens are two tiles."""
    source = torch.cat([torch.arange(70), torch.arange(3), torch.arange(70, 72), torch.arange(3), torch.arange(72, 75)])
    check(tmp_path, [70, 5, 6], [0, 3, 3], source, 4, 2, 16)


def check(
    folder: Path,
    lengths: list[int],
    shared: list[int],
    source: torch.Tensor | None,
    queries: int,
    groups: int,
    size: int,
) -> None:
    torch.manual_seed(0)
    tokens = sum(lengths) - sum(shared)
    heads = torch.randn(tokens, queries + 2 * groups, size)
    angles = torch.randn(tokens, size // 2)
    table = torch.cat([angles.cos(), angles.sin()], dim=-1)
    expected = attention_in_torch(heads.double(), table.double(), lengths, source, queries)
    # One row more, which must stay as it is.
    out = torch.full((tokens + 1, queries, size), 7.0)
    first, last = (part.int() for part in attended(lengths, shared))
    given = (heads.clone(), table, first, last, None if source is None else source.int(), size**-0.5, out[:-1])
    found = interpreted(folder, "causal_triton", "attend", *given)
    written = found[6].as_strided(out.shape, out.stride())
    assert torch.allclose(written[:-1].double(), expected, atol=1e-5)
    assert bool((written[-1] == 7).all())
    assert torch.equal(found[0], heads)
