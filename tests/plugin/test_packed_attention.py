"""The layout of packs and attention over them, without an engine; engine tests compare vectors with the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jina_embeddings.plugin.packed.attention import attention_on_cpu
from jina_embeddings.plugin.packed.layout import PackMetadata, kept_tokens

LENGTHS = np.array([9, 7, 7, 4], dtype=np.int32)
SHARED = [np.array(shared, dtype=np.int32) for shared in ([0, 0, 0, 0], [0, 3, 3, 3], [0, 2, 6, 1], [0, 6, 0, 3])]
CPU = torch.device("cpu")


@pytest.mark.parametrize("shared", SHARED)
def test_whole_repeats_shared_prefixes_in_front_of_every_prompt(shared: np.ndarray) -> None:
    prompts: list[list[int]] = [[]]
    for i, (length, count) in enumerate(zip(LENGTHS, shared, strict=True), start=1):
        prompts.append([*prompts[-1][:count], *range(100 * i + count, 100 * i + length)])
    del prompts[0]
    rows = torch.tensor([token for prompt, count in zip(prompts, shared, strict=True) for token in prompt[count:]])
    pack = PackMetadata.of_prompts(LENGTHS, shared, CPU)
    assert pack.whole(rows).tolist() == [token for prompt in prompts for token in prompt]
    assert pack.whole(rows)[kept_tokens(LENGTHS, shared)].tolist() == rows.tolist()


@pytest.mark.parametrize("shared", SHARED)
def test_every_query_attends_to_its_prompt_up_to_itself(shared: np.ndarray) -> None:
    """With fewer queries than keys, the causal mask is aligned at the last query and the last key."""
    pack = PackMetadata.of_prompts(LENGTHS, shared, CPU)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, int(pack.cu_rows[-1]), 2, 8, dtype=torch.float64)
    expected = []
    for i in range(len(LENGTHS)):
        queries = q[pack.cu_rows[i] : pack.cu_rows[i + 1]]
        keys, values = (pack.whole(x)[pack.cu_seqlens[i] : pack.cu_seqlens[i + 1]] for x in (k, v))
        mask = torch.ones(len(queries), len(keys), dtype=torch.bool).tril(len(keys) - len(queries))
        weights = torch.einsum("qhd,khd->hqk", queries, keys).masked_fill(~mask, -torch.inf).softmax(-1)
        expected.append(torch.einsum("hqk,khd->qhd", weights, values))
    assert torch.allclose(attention_on_cpu(1.0, q, k, v, pack, torch.empty_like(q)), torch.cat(expected), atol=1e-12)
    assert pack.max_rows == int(pack.cu_rows.diff().max())
    assert pack.max_seqlen == int(LENGTHS.max())
