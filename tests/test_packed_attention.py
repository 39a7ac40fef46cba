"""Where the prompts of a pack lie, without an engine; with one they are held to the reference elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jina_embeddings.plugin.packed_attention import PackMetadata, _on_cpu, kept_tokens

LENGTHS = np.array([9, 7, 7, 4], dtype=np.int32)
CPU = torch.device("cpu")


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_whole_prompts_have_the_common_beginning_in_front(shared: int) -> None:
    prompts = [
        [*range(shared), *range(100 * i + shared, 100 * i + length)] for i, length in enumerate(LENGTHS, start=1)
    ]
    rows = torch.tensor([*prompts[0], *(token for prompt in prompts[1:] for token in prompt[shared:])])
    pack = PackMetadata.of_lengths(LENGTHS, shared, CPU)
    assert pack.whole(rows).tolist() == [token for prompt in prompts for token in prompt]
    assert pack.whole(rows)[kept_tokens(LENGTHS, shared)].tolist() == rows.tolist()


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_every_row_sees_its_prompt_up_to_itself(shared: int) -> None:
    """As a kernel for prompts with fewer queries than keys reads the boundaries: the last query sees the last key."""
    pack = PackMetadata.of_lengths(LENGTHS, shared, CPU)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, int(pack.cu_rows[-1]), 2, 8, dtype=torch.float64)
    expected = []
    for i in range(len(LENGTHS)):
        queries = q[pack.cu_rows[i] : pack.cu_rows[i + 1]]
        keys, values = (pack.whole(x)[pack.cu_seqlens[i] : pack.cu_seqlens[i + 1]] for x in (k, v))
        mask = torch.ones(len(queries), len(keys), dtype=torch.bool).tril(len(keys) - len(queries))
        weights = torch.einsum("qhd,khd->hqk", queries, keys).masked_fill(~mask, -torch.inf).softmax(-1)
        expected.append(torch.einsum("hqk,khd->qhd", weights, values))
    assert torch.allclose(_on_cpu(1.0, q, k, v, pack, torch.empty_like(q)), torch.cat(expected), atol=1e-12)
    assert pack.max_rows == int(pack.cu_rows.diff().max())
    assert pack.max_seqlen == int(LENGTHS.max())
