"""The Transformers engine: for development, for CPUs, and what other engines are compared with."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoModel, Qwen2_5_VLConfig
from transformers.initialization import no_init_weights

from ..checkpoint import Checkpoint
from ..checkpoint.adapters import merge
from ..errors import EngineClosedError, EngineUnavailableError, OptionError, OutOfMemoryError
from ..images import patchify
from ..options import Options
from ..pooling import pool
from ..processor import positions, read_image_config
from ..prompts import suggest
from ..types import Prepared, Task
from .batching import plan_batches
from .lora import ActiveTask, attach_adapters
from .memory import require_memory

if TYPE_CHECKING:
    from ..types import FloatArray

logger = logging.getLogger(__name__)

_BATCH_TOKENS = {"cpu": 8192, "cuda": 32_768, "mps": 8192}


class TransformersEngine:
    """transformers' own Qwen2.5-VL classes, with our loader, adapters, batching and pooling."""

    name = "transformers"
    calls_at_once = 1

    def __init__(self, checkpoint: Checkpoint, options: Options):
        self.device = _device(options.device)
        self.dtype = _dtype(options.dtype, self.device)
        self.max_length = options.max_model_len or checkpoint.config.max_length
        self._merge_size = checkpoint.config.vision.spatial_merge_size
        self._max_tokens = options.max_batch_tokens or _BATCH_TOKENS[self.device.type]
        self._image_config = read_image_config(checkpoint)
        self._active = ActiveTask()
        self._lock = threading.Lock()
        self._model: Any = _load_model(checkpoint, options, self.device, self.dtype)
        self._task_index: dict[Task, int] = {}
        if checkpoint.adapters is not None and options.merge_adapter is None:
            tasks = attach_adapters(self._model, checkpoint.adapters, self._active)
            self._task_index = {task: index for index, task in enumerate(tasks)}
        self._projectors: dict[Task, tuple[torch.Tensor, torch.Tensor]] = {}
        if checkpoint.has_projector:
            for task in checkpoint.tasks:
                weight, bias = checkpoint.projector(task)
                self._projectors[task] = weight.to(self.device), bias.to(self.device)
        logger.debug("%s on %s in %s", checkpoint.name, self.device, self.dtype)

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        results: list[FloatArray | None] = [None] * len(batch)
        for indices in plan_batches(batch, max_tokens=self._max_tokens, batch_size=batch_size):
            for index, result in zip(indices, self._forward([batch[i] for i in indices]), strict=True):
                results[index] = result
        return results  # type: ignore[return-value]

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        return await asyncio.to_thread(self.run, batch, batch_size=batch_size)

    def close(self) -> None:
        with self._lock:
            self._model = None
            self._projectors.clear()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _forward(self, batch: Sequence[Prepared]) -> list[FloatArray]:
        """One padded forward; a batch that doesn't fit in the device's memory is halved."""
        try:
            with self._lock, torch.inference_mode():
                if self._model is None:
                    raise EngineClosedError("the engine is closed: make a new JinaEmbeddings")
                return self._run_batch(self._model, batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise OutOfMemoryError(
                    f"an input of {batch[0].num_tokens} tokens doesn't fit in the memory of {self.device}: "
                    f"lower max_model_len or max_pixels ({error})"
                ) from error
        torch.cuda.empty_cache()
        half = len(batch) // 2
        logger.warning(
            "a batch of %d inputs was too large for %s and is halved: lower max_batch_tokens", len(batch), self.device
        )
        return self._forward(batch[:half]) + self._forward(batch[half:])

    def _run_batch(self, model: Any, batch: Sequence[Prepared]) -> list[FloatArray]:
        first = batch[0]
        self._active.index = self._task_index.get(first.task, 0)
        hidden = self._hidden_states(model, batch)
        if first.multivector:
            return self._token_vectors(hidden, batch)
        width = hidden.shape[1]
        rows = hidden.reshape(-1, hidden.shape[2])
        spans = [(i * width + a, i * width + b) for i, prepared in enumerate(batch) for a, b in prepared.spans]
        vectors = pool(rows, spans, first.pooling).cpu().numpy()
        return np.split(vectors, np.cumsum([len(prepared.spans) for prepared in batch])[:-1])

    def _hidden_states(self, model: Any, batch: Sequence[Prepared]) -> torch.Tensor:
        """Last hidden states after the final norm, (batch, longest, hidden).

        Inputs are padded on the right and no mask is needed: attention is causal, so no token sees the
        padding behind it, and what the padding itself becomes is never pooled.
        """
        width = max(prepared.num_tokens for prepared in batch)
        ids = np.zeros((len(batch), width), dtype=np.int64)
        place = np.zeros((3, len(batch), width), dtype=np.int64)
        for row, prepared in enumerate(batch):
            ids[row, : prepared.num_tokens] = prepared.token_ids
            place[:, row, : prepared.num_tokens] = positions(prepared, self._merge_size)
        embeds = model.get_input_embeddings()(torch.from_numpy(ids).to(self.device))
        self._place_images(model, batch, embeds)
        hidden: torch.Tensor = model.language_model(
            inputs_embeds=embeds, position_ids=torch.from_numpy(place).to(self.device), use_cache=False
        ).last_hidden_state
        return hidden

    def _place_images(self, model: Any, batch: Sequence[Prepared], embeds: torch.Tensor) -> None:
        images = [(row, prepared.image) for row, prepared in enumerate(batch) if prepared.image is not None]
        if not images:
            return
        patches = np.concatenate([patchify(image.pixels, self._image_config) for _, image in images])
        grids = torch.tensor([image.grid for _, image in images])
        features = model.get_image_features(
            torch.from_numpy(patches).to(self.device), grids.to(self.device), return_dict=True
        ).pooler_output
        for (row, image), feature in zip(images, features, strict=True):
            embeds[row, image.offset : image.offset + image.num_tokens] = feature.to(embeds.dtype)

    def _token_vectors(self, hidden: torch.Tensor, batch: Sequence[Prepared]) -> list[FloatArray]:
        weight, bias = self._projectors[batch[0].task]
        rows = torch.cat([hidden[row, : prepared.num_tokens] for row, prepared in enumerate(batch)])
        vectors = torch.nn.functional.normalize(torch.nn.functional.linear(rows.float(), weight, bias), dim=-1)
        return np.split(vectors.cpu().numpy(), np.cumsum([prepared.num_tokens for prepared in batch])[:-1])


def _load_model(checkpoint: Checkpoint, options: Options, device: torch.device, dtype: torch.dtype) -> Any:
    num_values = checkpoint.weights.num_values
    if checkpoint.adapters is not None and options.merge_adapter is None:
        num_values += checkpoint.adapters.num_values
    require_memory(num_values * dtype.itemsize, str(device), f"choose another device, or a smaller dtype than {dtype}")
    config = Qwen2_5_VLConfig.from_pretrained(checkpoint.folder)
    with no_init_weights(), torch.device(device):
        model = AutoModel.from_config(config, dtype=dtype, attn_implementation="sdpa")
    adapters, task = checkpoint.adapters, options.merge_adapter
    pairs = adapters.load(task) if adapters is not None and task is not None else {}  # type: ignore[arg-type]
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in checkpoint.weights.load():
            parameter = parameters.get(name.removeprefix("model."))
            if parameter is None:
                continue
            pair = pairs.get(name.removesuffix(".weight"))
            if adapters is not None and pair is not None:
                tensor = merge(tensor.float(), pair, adapters.scaling)
            parameter.copy_(tensor)
    return model.eval().requires_grad_(False)


def _device(name: str | None) -> torch.device:
    """The device of that name, or the best one.

    Raises:
        OptionError: no such device, or none that this engine knows.
        EngineUnavailableError: it isn't there.
    """
    name = name or _best_device()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"unknown device {name!r}{suggest(name, _BATCH_TOKENS)}") from error
    if device.type not in _BATCH_TOKENS:
        raise OptionError(f"device {name!r} is not supported{suggest(name, _BATCH_TOKENS)}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineUnavailableError(f"device {name!r} can't be used here: {error}") from error
    return device


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    with suppress(AttributeError):
        if torch.backends.mps.is_available():
            return "mps"
    return "cpu"


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return getattr(torch, name)  # type: ignore[no-any-return]
