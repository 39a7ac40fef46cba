"""`Checkpoint`: an opened and checked checkpoint, its tasks and its projector."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointInvalidError, MultivectorUnavailableError, TaskUnavailableError
from ..types import ARCHITECTURE, TASKS, ModelInfo, Task
from .adapters import AdapterSet, merge, read_adapters
from .config import ModelConfig, read_config, read_json
from .digest import digest_of
from .resolve import DEFAULT_MODEL, MERGED_REPOSITORIES, resolve
from .tensors import PROJECTOR, WeightStore, load_tensors
from .tokenizer import load_tokenizer

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

# The engine that needs no files.
FAKE = "fake"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint folder, checked; tensors are read when they are needed.

    tasks: the tasks of its adapters, or the one that was merged into its weights.
    """

    name: str
    revision: str | None
    folder: Path
    config: ModelConfig
    weights: WeightStore
    adapters: AdapterSet | None
    tasks: tuple[Task, ...]

    @property
    def has_projector(self) -> bool:
        return self.config.multivector_dim is not None

    def num_values(self, *, with_adapters: bool) -> int:
        """How many numbers an engine holds: those of the weights, and of the adapters where none is merged."""
        adapters = self.adapters.num_values if with_adapters and self.adapters is not None else 0
        return self.weights.num_values + adapters

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            name=self.name,
            revision=self.revision,
            hidden_size=self.config.hidden_size,
            multivector_dim=self.config.multivector_dim,
            matryoshka_dims=self.config.matryoshka_dims,
            tasks=self.tasks,
            max_length=self.config.max_length,
            cautions=self.config.cautions,
            truncate_dim=self.config.truncate_dim,
        )

    def require_task(self, task: Task) -> None:
        """Raises TaskUnavailableError unless the checkpoint has the task."""
        if task not in self.tasks:
            kind = "was merged for" if self.adapters is None else "has adapters for"
            raise TaskUnavailableError(
                f"{self.name} {kind} {', '.join(self.tasks)}, not {task!r}: load {DEFAULT_MODEL} for all three tasks"
            )

    def require_multivector(self) -> None:
        """Raises MultivectorUnavailableError if the checkpoint has no projector."""
        if not self.has_projector:
            raise MultivectorUnavailableError(
                f"{self.name} has no {PROJECTOR}, so no multi-vectors: load {DEFAULT_MODEL}"
            )

    def tokenizer(self) -> Tokenizer:
        """What is in tokenizer.json."""
        return load_tokenizer(self.folder / "tokenizer.json")

    def image_settings(self) -> dict[str, Any]:
        """What is in preprocessor_config.json."""
        return read_json(self.folder / "preprocessor_config.json")

    @cached_property
    def digest(self) -> str:
        """See `digest_of`; empty for a checkpoint without files. Raises OSError."""
        return digest_of(self.folder, self.config, self.weights, self.adapters)

    @cached_property
    def _projector(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        tensors = dict(load_tensors({key: self.weights.entries[f"{PROJECTOR}.{key}"] for key in ("weight", "bias")}))
        # Copied, since the tensors are memory maps of the file and would change with it.
        weight, bias = (tensors[key].to(torch.float32, copy=True) for key in ("weight", "bias"))
        return weight, bias

    def projector(self, task: Task) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (dim, hidden) with the task's adapter merged, and bias (dim,), both float32."""
        self.require_multivector()
        self.require_task(task)
        weight, bias = self._projector
        if self.adapters is not None:
            weight = merge(weight, self.adapters.load(task, [PROJECTOR])[PROJECTOR], self.adapters.scaling)
        return weight, bias


def open_checkpoint(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    engine: str = "auto",
    task: Task | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Checkpoint:
    """Finds, reads and checks a checkpoint; weights are not loaded yet.

    Args:
        model: a folder, a hub id or the name of a bundled model.
        engine: what is to run it. `fake` has a checkpoint of its own, whatever `model` is.
        task: a task that the checkpoint has to have. For a merged checkpoint that doesn't name its task, the task that
            was merged into it.

    Raises:
        CheckpointNotFoundError: nothing is found under that name.
        CheckpointInvalidError: a file is missing, damaged or contradicts config.json.
        TaskUnavailableError: the checkpoint doesn't have the task, or it doesn't say which one was merged into it.
    """
    if engine == FAKE:
        from .fake import fake_checkpoint

        return fake_checkpoint()
    folder = resolve(model, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
    name = os.fspath(model)
    weights = WeightStore(folder)
    config = _with_projector(read_config(folder), weights)
    weights.verify(config)
    adapters = read_adapters(folder, config)
    tasks = adapters.tasks if adapters is not None else _merged_task(name, config, task)
    checkpoint = Checkpoint(name, revision, folder, config, weights, adapters, tasks)
    if task is not None:
        checkpoint.require_task(task)
    return checkpoint


def fetch_checkpoint(model: str | os.PathLike[str], *, engine: str, **source: Any) -> None:
    """Downloads what `open_checkpoint` would, for whoever wants to see how far that is.

    Raises:
        CheckpointNotFoundError: see `resolve`, whose arguments the others are.
    """
    if engine != FAKE:
        resolve(model, **source)


def _with_projector(config: ModelConfig, weights: WeightStore) -> ModelConfig:
    # config.json of some merged checkpoints gives the size of a projector that they don't have.
    stored = weights.entries.get(f"{PROJECTOR}.weight")
    if stored is not None:
        return replace(config, multivector_dim=stored.shape[0])
    return config if config.architecture == ARCHITECTURE else replace(config, multivector_dim=None)


def _merged_task(name: str, config: ModelConfig, task: Task | None) -> tuple[Task, ...]:
    if config.architecture == ARCHITECTURE:
        raise CheckpointInvalidError(
            f"{name} is a multi-task checkpoint without its adapters folder: its base weights alone give wrong vectors"
        )
    named = config.task_names[0] if len(config.task_names) == 1 else None
    known = MERGED_REPOSITORIES.get(name) or named or task
    if known is None:
        raise TaskUnavailableError(
            f"{name} holds one merged task and doesn't say which: give task= one of {', '.join(TASKS)}"
        )
    return (known,)
