"""vLLM's worker with stand-ins for graphs on a CPU: a text's vector, or a token's, is 1 where its ids say, else 0.

The model itself must not run in the thread that launches graphs: only a replay may.
"""

from __future__ import annotations

from typing import Any

import torch

from jina_embeddings.plugin.packed import worker
from jina_embeddings.plugin.packed.transfer import Arrival
from jina_embeddings.plugin.packs import Pack

HIDDEN, MULTIVECTOR = 128, 32


def marked(marks: list[int], width: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(marks) % width, width).float()


class ReplayingWorker(worker.PackedWorker):
    """For `worker_extension_cls`."""

    def jina_record_graphs(self, adapters: list[tuple[str, int, str]], max_tokens: int) -> dict[str, Any]:
        assert not adapters
        self.num_replayed = 0

        def replay(pack: Pack, number: int) -> Arrival | None:
            if pack.images or pack.num_tokens > max_tokens:
                return None
            assert not pack.shared.any()
            self.num_replayed += 1
            if pack.multivector:
                vectors = marked(pack.token_ids.tolist(), MULTIVECTOR)
            else:
                prompts = torch.from_numpy(pack.token_ids).split(pack.lengths.tolist())  # type: ignore[no-untyped-call]
                vectors = marked([int(ids.sum()) for ids in prompts], HIDDEN)
            return Arrival.of(vectors.half() if pack.half else vectors)

        self._jina_runner().replay = replay  # type: ignore[method-assign]
        return {"tokens": {0: max_tokens}, "reasons": {}, "count": 1, "seconds": 0.0, "bytes": 0, "peak_bytes": 0}

    def count_replayed(self) -> int:
        return self.num_replayed
