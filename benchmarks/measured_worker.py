"""vLLM's worker with what the throughput benchmark asks of it besides packs: memory, and where the time goes."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from jina_embeddings.plugin.packed.worker import PackedWorker

EXTENSION = "measured_worker.MeasuredWorker"

# Kinds of kernels by parts of their names, the first that fits. On a CPU they are names of operators.
KINDS = {
    "LoRA": ("lora", "sgmv", "punica"),
    # FlashAttention's are CUTLASS kernels too.
    "attention": ("flash", "fmha", "attention"),
    "matrix products": ("gemm", "nvjet", "cutlass", "cublas", "xmma", "mm", "linear", "splitk"),
    "SiLU and multiply": ("silu", "act_and_mul"),
    "norms": ("rms", "rsqrt", "norm"),
    "rotary": ("rotary", "rope"),
    "quantising": ("quant",),
    "pooling": ("segment_reduce",),
    "copies": ("memcpy", "copy", "memset"),
}


class MeasuredWorker(PackedWorker):
    """For `worker_extension_cls`."""

    def peak_memory(self) -> int:
        """Most bytes of device memory that this worker has held; 0 on a CPU."""
        return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0

    def start_profile(self) -> None:
        activities = [ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU]
        self._measured = profile(activities=activities)
        self._measured.start()

    def stop_profile(self) -> dict[str, Any]:
        """Milliseconds by kind of kernel, between the first and the last, and the share that any was running."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._measured.stop()
        with tempfile.TemporaryDirectory() as folder:
            trace = str(Path(folder) / "trace.json")
            self._measured.export_chrome_trace(trace)
            return summary(trace)


def summary(trace: str | os.PathLike[str]) -> dict[str, Any]:
    """The same of a trace that torch has written."""
    import json

    events = json.loads(Path(trace).read_text())["traceEvents"]
    kernels = [event for event in events if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
    if not kernels:
        kernels = [event for event in events if event.get("cat") == "cpu_op"]
    spent: dict[str, float] = defaultdict(float)
    busy, end = 0.0, float("-inf")
    for event in sorted(kernels, key=lambda event: event["ts"]):
        start, stop = event["ts"], event["ts"] + event["dur"]
        # What runs beside, or within, what began before is counted once.
        own = max(0.0, stop - max(start, end))
        busy, end = busy + own, max(end, stop)
        spent[kind_of(event["name"])] += own / 1000
    span = (end - min(event["ts"] for event in kernels)) / 1000 if kernels else 0.0
    by_time = sorted(spent.items(), key=lambda pair: -pair[1])
    return {
        "ms": {kind: round(ms, 2) for kind, ms in by_time},
        "span_ms": round(span, 2),
        "busy": round(busy / 1000 / span, 4) if span else 0.0,
    }


def kind_of(name: str) -> str:
    name = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "other")
