"""The base of the engines without vLLM: padded batches, shared by concurrent calls, one forward at a time."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch

from ..checkpoint import Checkpoint
from ..errors import EngineClosedError, EngineUnavailableError, OptionError, OutOfMemoryError, suggest
from ..fill import Fill
from ..inputs.patches import patchify
from ..inputs.positions import positions
from ..inputs.processor import read_image_config
from ..options import Options
from ..types import Both, Prepared, Task
from ..vectors.pooling import pool
from .event_loop import run_here
from .free_threads import FreeThreads
from .lora import ActiveTask, attach_adapters
from .memory import require_memory
from .sharing import SharedBatches

if TYPE_CHECKING:
    from ..types import FloatArray, Vectors

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Default of max_batch_tokens by type of device.
_BATCH_TOKENS = {"cpu": 8192, "cuda": 32_768, "mps": 8192}
# The fixed cost of a forward, as the number of tokens that take as long. Measured with `pocket` on one CPU core; an
# estimate for GPUs, where launching the kernels takes longer than running them on few tokens.
_FORWARD_TOKENS = {"cpu": 32, "cuda": 1024, "mps": 256}

# A batch of the largest model takes minutes on a CPU, and one text may wait for it.
_HANG_S = {"cpu": 900.0, "cuda": 60.0, "mps": 300.0}


class Model(Protocol):
    """Qwen2.5-VL, as our own `model.Network` or as transformers' classes."""

    @property
    def module(self) -> torch.nn.Module:
        """The module that has the language model as `language_model`, whose layers adapters are attached to."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """The embeddings (batch, tokens, hidden) of token ids (batch, tokens)."""

    def image_features(self, patches: torch.Tensor, grids: Sequence[tuple[int, int, int]]) -> Sequence[torch.Tensor]:
        """(tokens, hidden) of each image.

        patches: float32 (patches of all images, patch_dim).
        grids: (frames, rows, columns) of each image, in patches.
        """

    def hidden_states(self, embeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Last hidden states (batch, tokens, hidden); positions: int64 (3, batch, tokens)."""


class PaddedEngine(ABC):
    """An engine on a PyTorch model: adds adapters, batching and pooling; subclasses load the model."""

    name: str
    calls_at_once = 1
    chunk_size = 64

    def __init__(self, checkpoint: Checkpoint, options: Options):
        self.device = _device(options.device)
        self.dtype = _dtype(options.dtype, self.device)
        self.max_length = options.max_model_len or checkpoint.config.max_length
        self.hang_s = _HANG_S[self.device.type]
        self.pack_fill = Fill()
        self._merge_size = checkpoint.config.vision.spatial_merge_size
        self._max_tokens = options.max_batch_tokens or _BATCH_TOKENS[self.device.type]
        self._image_config = read_image_config(checkpoint)
        self._active = ActiveTask()
        _require_memory_for(checkpoint, options, self.device, self.dtype)
        self._model: Model | None = None
        self._task_index: dict[Task, int] = {}
        self._projectors: dict[Task, tuple[torch.Tensor, torch.Tensor]] = {}
        adapts = options.cpu_threads == "free" and self.device.type == "cpu"
        self._threads = FreeThreads(torch.get_num_threads()) if adapts else None
        self._batches = SharedBatches(
            self._forward,
            max_tokens=self._max_tokens,
            forward_tokens=_FORWARD_TOKENS[self.device.type],
            name=f"jina-embeddings-{self.name}",
        )
        try:
            # OpenMP gives each thread that computes a pool of its own, and once all pools have more threads than there
            # are cores, none of them waits actively, which doubles the time of a small batch. So one thread does all.
            self._batches.do(partial(self._load, checkpoint, options.merge_adapter))
        except BaseException:
            self._batches.close()
            raise
        logger.debug("%s on %s in %s", checkpoint.name, self.device, self.dtype)

    def _load(self, checkpoint: Checkpoint, merge_adapter: str | None) -> None:
        """Loads the model, its adapters and projectors."""
        self._model = self.load(checkpoint, merge_adapter)  # type: ignore[arg-type]
        if checkpoint.adapters is not None and merge_adapter is None:
            tasks = attach_adapters(self._model.module, checkpoint.adapters, self._active)
            self._task_index = {task: index for index, task in enumerate(tasks)}
        if checkpoint.has_projector:
            for task in checkpoint.tasks:
                weight, bias = checkpoint.projector(task)
                self._projectors[task] = weight.to(self.device), bias.to(self.device)

    @abstractmethod
    def load(self, checkpoint: Checkpoint, merge_adapter: Task | None) -> Model:
        """Loads the model on `self.device` in `self.dtype`, with the adapter of a task merged if one is given."""

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        future = self._batches.submit(batch, batch_size)
        try:
            return future.result()
        except BaseException:
            # After KeyboardInterrupt, batches of this call that haven't run must not run.
            future.cancel()
            raise

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Vectors]:
        # If the task is cancelled, wrap_future cancels the future too.
        return await asyncio.wrap_future(self._batches.submit(batch, batch_size))

    @property
    def alive(self) -> bool:
        return self._model is not None

    def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        return run_here(main)

    def close(self) -> None:
        self._batches.close()
        self._model = None
        self._projectors.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _forward(self, batch: Sequence[Prepared]) -> list[Vectors]:
        """Runs one padded forward; a batch that doesn't fit in the device's memory is run in two halves."""
        try:
            with torch.inference_mode(), self._threads.forward() if self._threads else nullcontext():
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

    def _run_batch(self, model: Model, batch: Sequence[Prepared]) -> list[Vectors]:
        first = batch[0]
        self.pack_fill.add(sum(prepared.num_tokens for prepared in batch), self._max_tokens)
        self._active.index = self._task_index.get(first.task, 0)
        hidden = self._hidden_states(model, batch)
        if not first.multivector:
            return list(self._pooled(hidden, batch))
        tokens = self._token_vectors(hidden, batch)
        if not first.spans:
            return list(tokens)
        return [Both(*pair) for pair in zip(self._pooled(hidden, batch), tokens, strict=True)]

    @staticmethod
    def _pooled(hidden: torch.Tensor, batch: Sequence[Prepared]) -> list[FloatArray]:
        width = hidden.shape[1]
        rows = hidden.reshape(-1, hidden.shape[2])
        spans = [(i * width + a, i * width + b) for i, prepared in enumerate(batch) for a, b in prepared.spans]
        vectors = pool(rows, spans, batch[0].pooling).cpu().numpy()
        return np.split(vectors, np.cumsum([len(prepared.spans) for prepared in batch])[:-1])

    def _hidden_states(self, model: Model, batch: Sequence[Prepared]) -> torch.Tensor:
        """Last hidden states after the final norm, (batch, longest, hidden).

        Inputs are padded on the right and no mask is needed: attention is causal, so no token attends to the padding
        behind it, and hidden states of padding are never pooled.
        """
        width = max(prepared.num_tokens for prepared in batch)
        ids = np.zeros((len(batch), width), dtype=np.int64)
        place = np.zeros((3, len(batch), width), dtype=np.int64)
        for row, prepared in enumerate(batch):
            ids[row, : prepared.num_tokens] = prepared.token_ids
            place[:, row, : prepared.num_tokens] = positions(prepared, self._merge_size)
        embeds = model.embed(torch.from_numpy(ids).to(self.device))
        self._place_images(model, batch, embeds)
        return model.hidden_states(embeds, torch.from_numpy(place).to(self.device))

    def _place_images(self, model: Model, batch: Sequence[Prepared], embeds: torch.Tensor) -> None:
        images = [(row, prepared.image) for row, prepared in enumerate(batch) if prepared.image is not None]
        if not images:
            return
        patches = np.concatenate([patchify(image.pixels, self._image_config) for _, image in images])
        features = model.image_features(torch.from_numpy(patches).to(self.device), [image.grid for _, image in images])
        for (row, image), feature in zip(images, features, strict=True):
            embeds[row, image.offset : image.offset + image.num_tokens] = feature.to(embeds.dtype)

    def _token_vectors(self, hidden: torch.Tensor, batch: Sequence[Prepared]) -> list[FloatArray]:
        weight, bias = self._projectors[batch[0].task]
        rows = torch.cat([hidden[row, : prepared.num_tokens] for row, prepared in enumerate(batch)])
        vectors = torch.nn.functional.normalize(torch.nn.functional.linear(rows.float(), weight, bias), dim=-1)
        return np.split(vectors.cpu().numpy(), np.cumsum([prepared.num_tokens for prepared in batch])[:-1])


def _require_memory_for(checkpoint: Checkpoint, options: Options, device: torch.device, dtype: torch.dtype) -> None:
    num_values = checkpoint.num_values(with_adapters=options.merge_adapter is None)
    require_memory(num_values * dtype.itemsize, str(device), f"choose another device, or a smaller dtype than {dtype}")


def _device(name: str | None) -> torch.device:
    """The torch device of that name; for None, CUDA or MPS if there is one, else the CPU.

    Raises:
        OptionError: torch has no such device, or these engines don't support it.
        EngineUnavailableError: this machine doesn't have it.
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
