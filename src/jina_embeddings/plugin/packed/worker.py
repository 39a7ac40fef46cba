"""Packed prefill inside vLLM's worker: runs a pack of prompts and returns one array of vectors.

An embedding is one prefill, which needs no KV cache, no scheduler and no object for each request. So the worker runs
the model that vLLM has loaded once over a pack, pools, and sends one array back. `PackedWorker` is mixed into vLLM's
worker class through `worker_extension_cls`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from vllm.lora.request import LoRARequest

from ...vectors.pooling import pool
from .. import SETTINGS
from ..compat import set_forward_context
from ..kernels.norms import fused_norms
from ..packs import Pack
from .attention import install
from .channel import PackChannel
from .decoder import PackDecoder
from .graphs import CudaRecorder, PackGraphs, Shape, shapes_up_to
from .images import VisionCache
from .layout import PackMetadata, pack_positions
from .lora import PackLora
from .pixels import MappedPixels
from .tower import Tower
from .transfer import Arrival, to_device

logger = logging.getLogger(__name__)

# Tokens of the first run, which compiles kernels and whose result is dropped.
_WARM_UP_TOKENS = 16
# Most threads of torch in a worker on a GPU; idle threads spin, and more of them would keep cores busy.
_MAX_TORCH_THREADS = 4
# Device memory that graphs leave free for the activations of large packs.
_RESERVED_BYTES = 2 * 1024**3


class PackedWorker:
    """The methods that the engine calls by name on every worker, through vLLM's `collective_rpc`."""

    def jina_warm_up(self) -> None:
        """Compiles the kernels of packs, so that the first pack doesn't wait for that."""
        self._jina_runner().warm_up()

    def jina_record_graphs(self, adapters: list[tuple[str, int, str]], max_tokens: int) -> dict[str, Any]:
        """Captures the CUDA graphs of small packs for each adapter, or of the weights as they are if there is none.

        max_tokens: tokens of the largest graph; 0 for no graphs.

        Returns the report of `PackRunner.record_graphs`.
        """
        return self._jina_runner().record_graphs(adapters, max_tokens)

    def jina_open_channel(self, path: str) -> None:
        """Connects to the engine's Unix socket, over which it sends small packs from then on."""
        runner = self._jina_runner()
        self.__dict__["_jina_channel"] = PackChannel(path, runner.replay, runner.device, runner.pixels)

    def jina_read_pixels(self, reference: list[Any], num_bytes: int) -> bytes | str:
        """The first bytes of a segment of the engine's `PixelMemory` as the device has read them, or why it can't."""
        try:
            return self._jina_runner().read_pixels(reference, num_bytes)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def jina_choose_weights(self, adapter: tuple[str, int, str]) -> tuple[bool, str]:
        """Whether packs of this adapter run on merged weights, and why; called before its first pack."""
        choice = self._jina_runner().lora.choose(LoRARequest(*adapter))
        return choice.merged, choice.reason

    def jina_run_pack(
        self, ticket: int | None, pack: list[Any] | None, adapter: tuple[str, int, str] | None, fetch: int | None
    ) -> bytes | None:
        """Starts a pack, and returns the vectors of an earlier one.

        ticket, pack: the pack to start, as of `Pack.to_wire`, and the key for its result; None starts none.
        adapter: name, id and folder of the task's LoRA; None if the weights have it merged.
        fetch: the key of the result that is returned. It waits for that pack, while the one just started runs.
        """
        runner = self._jina_runner()
        if ticket is not None and pack is not None:
            runner.start(ticket, Pack.from_wire(pack, runner.pixels), adapter)
        return None if fetch is None else runner.fetch(fetch)

    def jina_answer_pack(self, pack: list[Any], adapter: tuple[str, int, str] | None) -> bytes | None:
        """Runs a small pack, waits for it, and returns its vectors; no result is kept."""
        runner = self._jina_runner()
        return runner.answer(Pack.from_wire(pack, runner.pixels), adapter)

    def jina_pack_is_done(self, ticket: int) -> bool:
        """Whether fetching the result would return at once; also true if there is none, so that fetching raises."""
        result = self._jina_runner().results.get(ticket)
        return result is None or result.is_here()

    def jina_forget_pack(self, ticket: int) -> None:
        """Removes a result that nobody will fetch."""
        self._jina_runner().results.pop(ticket, None)

    def _jina_runner(self) -> PackRunner:
        runner: PackRunner | None = self.__dict__.get("_jina_pack_runner")
        if runner is None:
            runner = PackRunner(self.model_runner)  # type: ignore[attr-defined]
            self.__dict__["_jina_pack_runner"] = runner
        return runner


class PackRunner:
    """Runs packs on the model that vLLM has loaded, one after another."""

    def __init__(self, model_runner: Any):
        self.results: dict[int, Arrival] = {}
        self._model = model_runner.get_model()
        self._config = model_runner.vllm_config
        self.device = model_runner.device
        if self.device.type == "cuda":
            torch.set_num_threads(min(_MAX_TORCH_THREADS, torch.get_num_threads()))
        self._layers = install(self._config.compilation_config.static_forward_context)
        self._decoder = PackDecoder.of(self._model)
        logger.info("packs run on %s", self._decoder or "vLLM's model: its weights aren't plain, or on several devices")
        settings: dict[str, Any] = (self._config.additional_config or {}).get(SETTINGS, {})
        self.lora = PackLora(model_runner, settings.get("bulk_weights", "auto"))
        self._vision = VisionCache(self._model, Tower(self._model, self._config), self.device)
        self.pixels = MappedPixels(self.device, self._vision.copies.wait)
        # One column more than max_num_batched_tokens, like vLLM's buffer, whose strides are fixed in a compiled graph.
        width = self._config.scheduler_config.max_num_batched_tokens + 1
        self._positions = torch.zeros((3, width), dtype=torch.int64, device=self.device)
        self._graphs: PackGraphs | None = None
        # Guards the buffers of the graphs, which hold one pack at a time, whichever thread launches it.
        self._launching = threading.Lock()
        # The adapters whose weights have graphs; None for the weights as they are.
        self.recorded: list[LoRARequest | None] = []

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Runs a few tokens through our decoder, and a small image; vLLM has warmed up its own model."""
        self._vision.warm_up(large=self.device.type == "cuda")
        if self._decoder is not None:
            positions = self._positions[:, :_WARM_UP_TOKENS]
            embeds = self._model.embed_input_ids(positions[0])
            metadata = PackMetadata.of_prompts(np.array([len(embeds)], np.int32), np.zeros(1, np.int32), self.device)
            with fused_norms(self.device):
                self._decoder(embeds, positions, metadata)

    def read_pixels(self, reference: list[Any], num_bytes: int) -> bytes:
        """See `PackedWorker.jina_read_pixels`."""
        return self._vision.copies.to_device([self.pixels(reference)[:num_bytes]]).cpu().numpy().tobytes()

    def record_graphs(self, adapters: Sequence[tuple[str, int, str]], max_tokens: int) -> dict[str, Any]:
        """Captures graphs for weights that contain their adapter, as many as fit in memory.

        Returns a report of plain values: `tokens` of the largest graph by id of the adapter (0 for the weights as they
        are), `reasons` for adapters without graphs, `count`, `seconds`, and `bytes` and `peak_bytes` of device memory.
        """
        report: dict[str, Any] = {"tokens": {}, "reasons": {}, "count": 0, "seconds": 0.0, "bytes": 0, "peak_bytes": 0}
        requests = {adapter[1]: LoRARequest(*adapter) for adapter in adapters} or {0: None}
        if not max_tokens:
            why = "graph_tokens=0, or enforce_eager"
        elif self.device.type != "cuda":
            why = f"there are none on the device {self.device.type}"
        elif self._decoder is None:
            why = "the weights are neither plain matrices nor float8 ones of one device"
        else:
            why = ""
        if why:
            report["reasons"] = dict.fromkeys(requests, why)
            return report
        before, start = torch.cuda.memory_reserved(self.device), time.perf_counter()
        for number, request in requests.items():
            if request is not None and not (choice := self.lora.choose(request)).merged:
                report["reasons"][number] = f"its weights are not merged: {choice.reason}"
                continue
            try:
                report["tokens"][number] = self._record(number, request, max_tokens)
                self.recorded.append(request)
            except Exception as error:
                # Packs run without graphs; those that were captured before the error are kept.
                logger.warning("no graphs of packs: %s: %s", type(error).__name__, error)
                report["reasons"][number] = f"{type(error).__name__}: {error}"
        if self._graphs is not None:
            self._vision.record_graphs(CudaRecorder())
        report["count"] = 0 if self._graphs is None else self._graphs.num_graphs
        report["seconds"] = time.perf_counter() - start
        report["bytes"] = torch.cuda.memory_reserved(self.device) - before
        report["peak_bytes"] = torch.cuda.max_memory_reserved(self.device)
        return report

    @torch.inference_mode()
    def _record(self, number: int, request: LoRARequest | None, max_tokens: int) -> int:
        assert self._decoder is not None
        if self._graphs is None:
            self._graphs = PackGraphs(
                self._decoder,
                self._model.embed_input_ids,
                merge_size=self._vision.merge_size,
                device=self.device,
                shapes=shapes_up_to(max_tokens),
                record=CudaRecorder(),
            )
        with self.lora.applied(request, max_tokens), fused_norms(self.device):
            return self._graphs.record(number, self._has_room)

    def _has_room(self, shape: Shape) -> bool:
        free, _ = torch.cuda.mem_get_info(self.device)
        return free > _RESERVED_BYTES

    def start(self, ticket: int, pack: Pack, adapter: tuple[str, int, str] | None) -> None:
        """Launches a pack without waiting for it, and keeps its result under the ticket."""
        self.results[ticket] = self._launch(pack, adapter)

    def answer(self, pack: Pack, adapter: tuple[str, int, str] | None) -> bytes | None:
        """Runs a pack and waits for it; returns the same as `fetch`."""
        return self._to_bytes(self._launch(pack, adapter))

    @torch.inference_mode()
    def _launch(self, pack: Pack, adapter: tuple[str, int, str] | None) -> Arrival:
        arrival = self.replay(pack, 0 if adapter is None else adapter[1])
        if arrival is not None:
            return arrival
        request = LoRARequest(*adapter) if adapter is not None else None
        with self.lora.applied(request, pack.num_tokens) as weights_are_whole:
            hidden = self._hidden_states(pack, weights_are_whole)
        return Arrival.of(self._pooled(pack, hidden))

    @torch.inference_mode()
    def replay(self, pack: Pack, number: int) -> Arrival | None:
        """Launches a pack by a graph of an adapter's weights; None if no graph is large enough.

        Any thread may call it: unlike `start` and `answer` it leaves the model as it is.
        """
        if self._graphs is None or not self._graphs.has(number, pack):
            return None
        features = self._vision.features(pack.images)
        with self._launching:
            states = self._graphs.run(number, pack, features)
            # Launched on the same stream before the next graph, which overwrites the memory of the states.
            return None if states is None else Arrival.of(self._pooled(pack, *states))

    def _pooled(self, pack: Pack, hidden: torch.Tensor, means: torch.Tensor | None = None) -> torch.Tensor:
        """The vectors of the pack; the bytes of dense vectors and of multi-vectors behind one another if it has both.

        means: the means of whole prompts, if they were computed already.
        """
        if not pack.multivector:
            return self._dense(pack, hidden, means)
        weight, bias = self._model.pooler.projectors[pack.task]
        projected = torch.nn.functional.linear(hidden.float(), weight, bias)
        tokens = torch.nn.functional.normalize(projected, dim=-1)
        tokens = tokens.half() if pack.half else tokens
        if not len(pack.spans):
            return tokens
        dense = self._dense(pack, hidden, means)
        return torch.cat([vectors.contiguous().view(torch.uint8).flatten() for vectors in (dense, tokens)])

    @staticmethod
    def _dense(pack: Pack, hidden: torch.Tensor, means: torch.Tensor | None) -> torch.Tensor:
        if means is not None and pack.pooling == "mean" and pack.spans_are_prompts:
            return means
        return pool(hidden, [(a, b) for a, b in pack.spans.tolist()], pack.pooling)

    def fetch(self, ticket: int) -> bytes | None:
        """The bytes of a result's vectors, row by row; None from all workers of a group but the first."""
        return self._to_bytes(self.results.pop(ticket))

    def _to_bytes(self, arrival: Arrival) -> bytes | None:
        vectors = arrival.wait()
        if self._config.parallel_config.tensor_parallel_size > 1 and _rank() != 0:
            return None
        return vectors.numpy().tobytes()

    def _hidden_states(self, pack: Pack, weights_are_whole: bool) -> torch.Tensor:
        """Last hidden states after the final norm, (tokens of whole prompts, hidden)."""
        ids = to_device(pack.token_ids, self.device)
        embeds = self._model.embed_input_ids(ids)
        for image, features in zip(pack.images, self._vision.features(pack.images), strict=True):
            embeds[image.start : image.start + image.num_tokens] = features
        positions = self._positions[:, : pack.num_tokens]
        positions.copy_(to_device(pack_positions(pack, self._vision.merge_size), self.device))
        metadata = PackMetadata.of_prompts(pack.lengths, pack.shared, self.device)
        if self._decoder is not None and weights_are_whole:
            with fused_norms(self.device):
                return metadata.whole(self._decoder(embeds, positions, metadata))
        # Without a slot mapping, vLLM's update of the KV cache does nothing.
        with set_forward_context(dict.fromkeys(self._layers, metadata), self._config, num_tokens=pack.num_tokens):
            hidden: torch.Tensor = self._model(input_ids=None, positions=positions, inputs_embeds=embeds)
        return metadata.whole(hidden)


def _rank() -> int:
    from ..compat import get_tensor_model_parallel_rank

    return int(get_tensor_model_parallel_rank())
