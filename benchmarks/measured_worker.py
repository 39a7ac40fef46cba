"""A worker for benchmarks, which also measures memory, small packs, CUDA graphs and the time of kernels."""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from checked_graphs import check
from jina_embeddings.plugin.packed.channel import DeviceClock, Launched
from jina_embeddings.plugin.packed.worker import PackedWorker
from jina_embeddings.plugin.packs import Pack

EXTENSION = "measured_worker.MeasuredWorker"

# Kinds of kernels by parts of their names; the first match counts. On a CPU they are names of operators.
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
# How many kernels a profile names, and how much of their names.
_NAMED, _NAME_LENGTH = 16, 90


class MeasuredWorker(PackedWorker):
    """The class for vLLM's argument `worker_extension_cls`."""

    def peak_memory(self) -> int:
        """The peak of device memory that this worker has reserved, in bytes; 0 on a CPU."""
        return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0

    def check_graphs(self) -> dict[str, Any]:
        """The result of `checked_graphs.check`."""
        return check(self._jina_runner())

    def jina_open_channel(self, path: str) -> None:
        runner = self._jina_runner()
        replay = runner.replay
        self._launches: list[tuple[float, int, int]] = []

        def timed(pack: Pack, number: int) -> Any:
            start = time.perf_counter()
            arrival = replay(pack, number)
            self._launches.append((time.perf_counter() - start, pack.num_tokens, len(pack.lengths)))
            return arrival

        runner.replay = timed  # type: ignore[method-assign]
        self._on_device = list[tuple[float, float]]()
        measure = DeviceClock.times

        def noted(clock: DeviceClock, launched: Launched) -> tuple[float, float]:
            self._on_device.append(measure(clock, launched))
            return self._on_device[-1]

        clocks: Any = DeviceClock
        clocks.times = noted
        super().jina_open_channel(path)

    def small_packs(self) -> dict[str, float]:
        """The number of small packs since the last call, and medians: milliseconds of a launch, tokens, prompts.

        Means of the milliseconds that a pack took the device, that the device had waited for it, and of its tokens.
        """
        known: list[tuple[float, int, int]] = self.__dict__.get("_launches", [])
        launches, known[:] = list(known), []
        if not launches:
            return {"count": 0}
        seconds, tokens, prompts = np.median(np.array(launches), axis=0).tolist()
        found = {"count": len(launches), "launch_ms": round(1000 * seconds, 3), "tokens": tokens, "prompts": prompts}
        found["mean_tokens"] = round(float(np.mean([tokens for _, tokens, _ in launches])), 1)
        on_device, self._on_device[:] = list(self._on_device), []
        if on_device:
            took, idle = np.mean(on_device, axis=0).tolist()
            found |= {"device_ms": round(1000 * took, 3), "idle_ms": round(1000 * idle, 3)}
        return found

    def start_profile(self) -> None:
        activities = [ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU]
        self._measured = profile(activities=activities)
        self._measured.start()

    def stop_profile(self) -> dict[str, Any]:
        """Returns milliseconds by kind of kernel and in total, and the share of the time in which any was running.

        Of the kernels that took longest also: name, number, milliseconds.
        """
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._measured.stop()
        with tempfile.TemporaryDirectory() as folder:
            trace = str(Path(folder) / "trace.json")
            self._measured.export_chrome_trace(trace)
            return summary(trace)


def summary(trace: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what `stop_profile` returns, of a trace that torch has written."""
    import json

    events = json.loads(Path(trace).read_text())["traceEvents"]
    kernels = [event for event in events if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
    if not kernels:
        kernels = [event for event in events if event.get("cat") == "cpu_op"]
    spent: dict[str, float] = defaultdict(float)
    named: dict[str, list[float]] = defaultdict(list)
    busy, end = 0.0, float("-inf")
    for event in sorted(kernels, key=lambda event: event["ts"]):
        start, stop = event["ts"], event["ts"] + event["dur"]
        # Time in which several kernels run is counted once.
        own = max(0.0, stop - max(start, end))
        busy, end = busy + own, max(end, stop)
        spent[kind_of(event["name"])] += own / 1000
        named[event["name"][:_NAME_LENGTH]].append(own / 1000)
    span = (end - min(event["ts"] for event in kernels)) / 1000 if kernels else 0.0
    by_time = sorted(spent.items(), key=lambda pair: -pair[1])
    longest = sorted(named.items(), key=lambda pair: -sum(pair[1]))[:_NAMED]
    return {
        "ms": {kind: round(ms, 2) for kind, ms in by_time},
        "span_ms": round(span, 2),
        "busy": round(busy / 1000 / span, 4) if span else 0.0,
        "longest": [[name, len(each), round(sum(each), 2)] for name, each in longest],
    }


def kind_of(name: str) -> str:
    name = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "other")
