"""vLLM's worker with graphs on a CPU: what was recorded is run again."""

from __future__ import annotations

from typing import Any

from jina_embeddings.plugin.packed import worker
from replays import run_again


class ReplayingWorker(worker.PackedWorker):
    """For `worker_extension_cls`. For weights that need no adapter: those of a recording are those of its replay."""

    def jina_record_graphs(self, adapters: list[tuple[str, int, str]], max_tokens: int) -> dict[str, Any]:
        assert not adapters
        module: Any = worker
        module.CudaRecorder = lambda: run_again
        runner = self._jina_runner()
        runner._has_room = lambda shape: True  # type: ignore[method-assign]
        self.num_replayed = 0
        replay = runner.replay

        def counted(pack: Any, number: int) -> Any:
            arrival = replay(pack, number)
            self.num_replayed += arrival is not None
            return arrival

        runner.replay = counted  # type: ignore[method-assign]
        largest = runner._record(0, None, max_tokens)
        return {"tokens": {0: largest}, "reasons": {}, "count": 1, "seconds": 0.0, "bytes": 0, "peak_bytes": 0}

    def count_replayed(self) -> int:
        return self.num_replayed
