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

from jina_embeddings.plugin.kernels.norms import fused_norms
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


class MeasuredWorker(PackedWorker):
    """The class for vLLM's argument `worker_extension_cls`."""

    def peak_memory(self) -> int:
        """The peak of device memory that this worker has reserved, in bytes; 0 on a CPU."""
        return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0

    def check_graphs(self) -> dict[str, Any]:
        """Compares every graph, at several fills, with the same pack launched kernel by kernel.

        Also measures the milliseconds of a replay for each size.
        """
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
        super().jina_open_channel(path)

    def small_packs(self) -> dict[str, float]:
        """The number of small packs since the last call, and medians: milliseconds of a launch, tokens, prompts."""
        known: list[tuple[float, int, int]] = self.__dict__.get("_launches", [])
        launches, known[:] = list(known), []
        if not launches:
            return {"count": 0}
        seconds, tokens, prompts = np.median(np.array(launches), axis=0).tolist()
        return {"count": len(launches), "launch_ms": round(1000 * seconds, 3), "tokens": tokens, "prompts": prompts}

    def start_profile(self) -> None:
        activities = [ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU]
        self._measured = profile(activities=activities)
        self._measured.start()

    def stop_profile(self) -> dict[str, Any]:
        """Returns milliseconds by kind of kernel and in total, and the share of the time in which any was running."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._measured.stop()
        with tempfile.TemporaryDirectory() as folder:
            trace = str(Path(folder) / "trace.json")
            self._measured.export_chrome_trace(trace)
            return summary(trace)


@torch.inference_mode()
def check(runner: Any) -> dict[str, Any]:
    graphs = runner._graphs
    if graphs is None:
        return {"graphs": 0}
    rng = np.random.default_rng(0)
    cosines, equal, equal_launched, wrong_means, count, times = [], 0, 0, 0, 0, {}
    means: list[float] = []
    wrong: list[Any] = []
    for weights, shape in sorted(graphs._graphs, key=lambda key: (key[0], key[1].tokens)):
        request = next((one for one in runner.recorded if one and one.lora_int_id == weights), None)
        for lengths in _fills(shape, rng):
            ids = rng.integers(0, 100_000, int(lengths.sum())).astype(np.int32)
            shared = np.zeros_like(lengths)
            pack = Pack(ids, lengths, shared, np.zeros((0, 2), np.int32), "", False, "mean", False, ())
            graphs.integers.fill_(1)
            states = graphs.run(weights, pack)
            found, replayed_means = states.hidden.float().clone(), states.means.clone()
            with runner.lora.applied(request, pack.num_tokens) as whole:
                expected = runner._hidden_states(pack, whole).float()
            # The same kernels, as the host launches them.
            graphs._fill(shape, pack, ())
            with runner.lora.applied(request, pack.num_tokens), fused_norms(runner.device):
                same = graphs._forward(shape)
            launched, launched_means = same.hidden[: pack.num_tokens].float(), same.means[: len(lengths)]
            equal_launched += bool(torch.equal(found, launched) and torch.equal(replayed_means, launched_means))
            wrong_means += not torch.allclose(replayed_means, _means(found, lengths), rtol=1e-4, atol=1e-5)
            each = torch.nn.functional.cosine_similarity(found, expected, dim=-1)
            cosines.append(float(each.min()) if bool(each.isfinite().all()) else -1.0)
            pooled = torch.nn.functional.cosine_similarity(found.mean(0), expected.mean(0), dim=0)
            means.append(float(pooled))
            equal += bool(torch.equal(found, expected))
            count += 1
            if cosines[-1] < 0.9999:
                wrong.append([weights, shape.tokens, len(lengths), cosines[-1], float(pooled)])
        if weights == min(key[0] for key in graphs._graphs):
            times[shape.tokens] = round(_milliseconds(graphs._graphs[weights, shape][0]), 3)
    return {
        "compared": count,
        "equal_to_a_launched_pack_of_its_size": equal_launched,
        "equal_to_a_launched_pack": equal,
        "wrong_means": wrong_means,
        "worst_cosine_of_a_mean": min(means),
        "worst_cosine_of_a_token": min(cosines),
        "wrong": wrong[:3],
        "replay_ms": times,
    }


def _means(hidden: torch.Tensor, lengths: Any) -> torch.Tensor:
    return torch.stack([rows.mean(0) for rows in hidden.split(lengths.tolist())])  # type: ignore[no-untyped-call]


def _fills(shape: Any, rng: Any) -> list[Any]:
    """Lengths of prompts that fill a shape's tokens, its prompts, nearly all of it, half of it, and little of it."""
    most = min(shape.prompts, shape.tokens // 4)
    several = rng.multinomial(shape.tokens - 4 * most, np.full(most, 1 / most)) + 4
    fills = [[shape.tokens], several, several[: most // 2 + 1], [shape.tokens - 1], [5], [shape.tokens // 2, 3]]
    return [np.array(lengths, np.int32) for lengths in fills]


def _milliseconds(run: Any, times: int = 20) -> float:
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    run()
    start.record()
    for _ in range(times):
        run()
    stop.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(stop)) / times


def summary(trace: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what `stop_profile` returns, of a trace that torch has written."""
    import json

    events = json.loads(Path(trace).read_text())["traceEvents"]
    kernels = [event for event in events if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
    if not kernels:
        kernels = [event for event in events if event.get("cat") == "cpu_op"]
    spent: dict[str, float] = defaultdict(float)
    busy, end = 0.0, float("-inf")
    for event in sorted(kernels, key=lambda event: event["ts"]):
        start, stop = event["ts"], event["ts"] + event["dur"]
        # Time in which several kernels run is counted once.
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
