"""Packed prefill inside vLLM's worker: a pack of prompts in, one array of vectors out.

An embedding is one prefill. It needs no KV cache, no scheduler and no object for each request, so bulk work goes
around all three: the worker runs vLLM's own loaded model once over a pack, pools, and sends one array back.
`PackedWorker` is mixed into vLLM's worker class through `worker_extension_cls`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from vllm.forward_context import set_forward_context
from vllm.lora.request import LoRARequest

from ..images import patchify
from ..packs import Pack, PackedImage
from ..pooling import pool
from ..processor import image_positions
from .packed_attention import PackMetadata, install
from .packed_lora import PackLora

# Features of the vision tower that are kept for the next task that asks for the same picture.
_VISION_CACHE_BYTES = 256 * 1024**2


class PackedWorker:
    """The methods that the engine calls on every worker by name."""

    def jina_run_pack(
        self, ticket: int | None, pack: list[Any] | None, adapter: tuple[str, int, str] | None, fetch: int | None
    ) -> bytes | None:
        """Starts a pack, and returns the vectors of an earlier one.

        ticket, pack: what to start, as `Pack.to_wire` made it; None starts nothing.
        adapter: name, number and folder of the task's LoRA; None where the weights have it merged.
        fetch: ticket whose result is returned; it is waited for, while the pack just started runs.
        """
        runner = self._jina_runner()
        if ticket is not None and pack is not None:
            runner.start(ticket, Pack.from_wire(pack), adapter)
        return None if fetch is None else runner.fetch(fetch)

    def jina_forget_pack(self, ticket: int) -> None:
        """Drops a result that nobody will fetch."""
        self._jina_runner().results.pop(ticket, None)

    def _jina_runner(self) -> PackRunner:
        runner: PackRunner | None = self.__dict__.get("_jina_pack_runner")
        if runner is None:
            runner = PackRunner(self.model_runner)  # type: ignore[attr-defined]
            self.__dict__["_jina_pack_runner"] = runner
        return runner


@dataclass(frozen=True, slots=True)
class _Result:
    """Vectors on their way to the host, and the event that says they have arrived (None on a CPU)."""

    vectors: torch.Tensor
    arrived: torch.cuda.Event | None


class PackRunner:
    """Runs packs on the model that vLLM has loaded, one after another."""

    def __init__(self, model_runner: Any):
        self.results: dict[int, _Result] = {}
        self._model = model_runner.get_model()
        self._config = model_runner.vllm_config
        self._device = model_runner.device
        self._layers = install(self._config.compilation_config.static_forward_context)
        self._lora = PackLora(model_runner)
        self._vision = VisionCache(self._model, self._device)

    @torch.inference_mode()
    def start(self, ticket: int, pack: Pack, adapter: tuple[str, int, str] | None) -> None:
        """Launches everything a pack needs; on a GPU nothing here waits for it."""
        request = LoRARequest(*adapter) if adapter is not None else None
        with self._lora.applied(request, len(pack.lengths), pack.num_tokens):
            hidden = self._hidden_states(pack)
        if pack.multivector:
            weight, bias = self._model.pooler.projectors[pack.task]
            projected = torch.nn.functional.linear(hidden.float(), weight, bias)
            vectors = torch.nn.functional.normalize(projected, dim=-1)
        else:
            vectors = pool(hidden, [(int(a), int(b)) for a, b in pack.spans], pack.pooling)
        self.results[ticket] = self._send(vectors.half() if pack.half else vectors)

    def fetch(self, ticket: int) -> bytes | None:
        """The bytes of a result's vectors, row after row; None from all workers but the first of a group."""
        result = self.results.pop(ticket)
        if result.arrived is not None:
            result.arrived.synchronize()
        if self._config.parallel_config.tensor_parallel_size > 1 and _rank() != 0:
            return None
        return result.vectors.numpy().tobytes()

    def _hidden_states(self, pack: Pack) -> torch.Tensor:
        """Last hidden states after the final norm, (num_tokens, hidden)."""
        ids = torch.from_numpy(pack.token_ids).to(self._device, non_blocking=True)
        embeds = self._model.embed_input_ids(ids)
        for image, features in zip(pack.images, self._vision.features(pack.images), strict=True):
            embeds[image.start : image.start + image.num_tokens] = features
        positions = torch.from_numpy(pack_positions(pack, self._vision.merge_size)).to(self._device, non_blocking=True)
        metadata = PackMetadata.of_lengths(pack.lengths, self._device)
        # No slot mapping: vLLM's own update of the KV cache then does nothing.
        with set_forward_context(dict.fromkeys(self._layers, metadata), self._config, num_tokens=pack.num_tokens):
            hidden: torch.Tensor = self._model(input_ids=None, positions=positions, inputs_embeds=embeds)
        return hidden

    def _send(self, vectors: torch.Tensor) -> _Result:
        if not vectors.is_cuda:
            return _Result(vectors, None)
        host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
        host.copy_(vectors, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return _Result(host, arrived)


class VisionCache:
    """Features of images by content: a second task, or a multi-vector call, skips the tower."""

    def __init__(self, model: Any, device: torch.device):
        self._model = model
        self._device = device
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._num_bytes = 0
        self.merge_size: int = model.visual.spatial_merge_size

    def features(self, images: tuple[PackedImage, ...]) -> list[torch.Tensor]:
        """(num_tokens, hidden) of each image; those not at hand go through the tower together."""
        missing = {image.digest: image for image in images if image.digest not in self._features}
        found = {image.digest: self._features[image.digest] for image in images if image.digest not in missing}
        if missing:
            patches = np.concatenate([patchify(image.pixels, image.config) for image in missing.values()])
            grids = torch.tensor([image.grid for image in missing.values()])
            computed = self._model.embed_multimodal(
                pixel_values=torch.from_numpy(patches).to(self._device, self._model.visual.dtype),
                image_grid_thw=grids,
            )
            found.update(zip(missing, computed, strict=True))
        for image in images:
            self._keep(image.digest, found[image.digest])
        return [found[image.digest] for image in images]

    def _keep(self, digest: str, features: torch.Tensor) -> None:
        if digest not in self._features:
            # A copy: the tower returned a part of one large tensor, which would otherwise stay whole.
            self._features[digest] = features.clone()
            self._num_bytes += features.nbytes
        self._features.move_to_end(digest)
        while self._num_bytes > _VISION_CACHE_BYTES:
            self._num_bytes -= self._features.popitem(last=False)[1].nbytes


def pack_positions(pack: Pack, merge_size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """M-RoPE positions (3, num_tokens): each prompt counts from 0."""
    starts = np.cumsum(pack.lengths) - pack.lengths
    row = np.arange(pack.num_tokens) - np.repeat(starts, pack.lengths)
    positions = np.repeat(row[None], 3, axis=0)
    for image in pack.images:
        prompt = int(np.searchsorted(starts, image.start, side="right")) - 1
        start, length = int(starts[prompt]), int(pack.lengths[prompt])
        positions[:, start : start + length] = image_positions(
            length, image.start - start, image.num_tokens, image.grid, merge_size
        )
    return positions


def _rank() -> int:
    from vllm.distributed.parallel_state import get_tensor_model_parallel_rank

    return int(get_tensor_model_parallel_rank())
