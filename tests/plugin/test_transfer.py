"""Buffers between host and device; what is said of them on a CPU is the same on a GPU."""

from __future__ import annotations

import torch

from jina_embeddings.plugin.packed.transfer import Staging


def test_a_staged_buffer_is_not_filled_again_while_its_copy_may_be_under_way() -> None:
    staging = Staging(4, torch.device("cpu"))
    buffers = []
    for number in range(4):
        with staging.next() as buffer:
            buffer.fill_(number)
            buffers.append(buffer)
    # Each of the packs in progress still has its own integers.
    assert [buffer.tolist() for buffer in buffers] == [[number] * 4 for number in range(4)]
    with staging.next() as again:
        assert again.data_ptr() == buffers[0].data_ptr()
