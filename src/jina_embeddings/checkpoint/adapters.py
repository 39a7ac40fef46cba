"""The task adapters: three LoRAs in one file, which are read, checked, merged, or split into one folder a task.

W' = W + (lora_alpha / r) B A, with A (r, in) and B (out, r) (Hu et al. 2021, section 4.1).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointInvalidError, CheckpointNotFoundError, TaskUnavailableError
from ..types import TASKS, Task
from .config import ModelConfig, read_json
from .tensors import PROJECTOR, TensorEntry, load_tensors, projection_shapes, read_header

if TYPE_CHECKING:
    import torch

    LoraPair = tuple[torch.Tensor, torch.Tensor]

_NAME = re.compile(
    r"base_model\.model\.(?:model\.(?:language_model\.)?(?P<layer>layers\.\d+\.[\w.]+?)|(?P<projector>multi_vector_projector))"
    r"\.lora_(?P<side>[AB])\.(?P<task>[\w-]+)\.weight"
)


@dataclass(frozen=True, slots=True)
class AdapterSet:
    """All adapters of one checkpoint; keys of `pairs` are (task, module).

    A module is a linear layer's canonical name without `.weight`, such as
    `model.language_model.layers.0.mlp.up_proj`, or `multi_vector_projector`.
    """

    file: Path
    config: dict[str, Any]
    rank: int
    scaling: float
    tasks: tuple[Task, ...]
    pairs: dict[tuple[Task, str], tuple[TensorEntry, TensorEntry]]

    @property
    def num_bytes(self) -> int:
        return sum(entry.num_bytes for pair in self.pairs.values() for entry in pair)

    @property
    def num_values(self) -> int:
        return sum(entry.num_values for pair in self.pairs.values() for entry in pair)

    def modules(self, task: Task) -> list[str]:
        return [module for owner, module in self.pairs if owner == task]

    def load(self, task: Task, modules: Iterable[str] | None = None) -> dict[str, LoraPair]:
        """A (r, in) and B (out, r) of a task's modules (all by default), as stored; scaling is not applied."""
        if task not in self.tasks:
            raise TaskUnavailableError(f"{self.file} has no adapter for task {task!r}; it has {', '.join(self.tasks)}")
        wanted = list(self.modules(task) if modules is None else modules)
        entries = {}
        for module in wanted:
            entries[module + ".A"], entries[module + ".B"] = self.pairs[task, module]
        tensors = dict(load_tensors(entries))
        return {module: (tensors[module + ".A"], tensors[module + ".B"]) for module in wanted}


def read_adapters(folder: Path, model: ModelConfig) -> AdapterSet | None:
    """The adapters under `folder/adapters`, checked against the model; None where there is no such folder.

    Raises:
        CheckpointInvalidError: a tensor is missing, has another shape, or is for a layer that the model doesn't have;
            or the file is damaged. The message names the tensor and the file.
    """
    home = folder / "adapters"
    if not home.is_dir():
        return None
    path = home / "adapter_model.safetensors"
    config = read_json(home / "adapter_config.json")
    header = read_header(path)
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointInvalidError(f"{home / 'adapter_config.json'} needs numbers for r and lora_alpha") from error
    for name in ("use_dora", "use_rslora", "alpha_pattern", "rank_pattern"):
        if config.get(name):
            raise CheckpointInvalidError(f"{home / 'adapter_config.json'}: {name} is not supported")
    if rank < 1:
        raise CheckpointInvalidError(f"{home / 'adapter_config.json'}: r must be above 0, not {rank}")

    shapes = _adapted_shapes(model)
    halves: dict[tuple[Task, str], dict[str, TensorEntry]] = {}
    for name, entry in header.items():
        task, module, side = _parse(path, name)
        if module not in shapes:
            raise CheckpointInvalidError(f"{path}: tensor {name!r} is for a layer that config.json does not have")
        out, width = shapes[module]
        expected = (rank, width) if side == "A" else (out, rank)
        if entry.shape != expected:
            raise CheckpointInvalidError(
                f"{path}: tensor {name!r} has shape {list(entry.shape)}, expected {list(expected)}"
            )
        halves.setdefault((task, module), {})[side] = entry

    tasks = tuple(task for task in TASKS if any(owner == task for owner, _ in halves))
    for task in tasks:
        for module in shapes:
            missing = {"A", "B"} - halves.get((task, module), {}).keys()
            if missing:
                raise CheckpointInvalidError(f"{path}: {module}.lora_{min(missing)}.{task}.weight is missing")
    pairs = {key: (sides["A"], sides["B"]) for key, sides in halves.items()}
    return AdapterSet(path, config, rank, alpha / rank, tasks, pairs)


def _parse(path: Path, name: str) -> tuple[Task, str, str]:
    match = _NAME.fullmatch(name)
    if match is None or match["task"] not in TASKS:
        raise CheckpointInvalidError(f"{path}: tensor {name!r} is not an adapter tensor of tasks {', '.join(TASKS)}")
    task: Task = match["task"]
    module = PROJECTOR if match["projector"] else f"model.language_model.{match['layer']}"
    return task, module, match["side"]


def _adapted_shapes(model: ModelConfig) -> dict[str, tuple[int, int]]:
    shapes = {
        f"model.language_model.layers.{layer}.{name}": shape
        for layer in range(model.num_layers)
        for name, shape in projection_shapes(model).items()
    }
    if model.multivector_dim is not None:
        shapes[PROJECTOR] = (model.multivector_dim, model.hidden_size)
    return shapes


def merge(weight: torch.Tensor, pair: LoraPair, scaling: float) -> torch.Tensor:
    """W + scaling B A, computed in float32 and returned in the dtype of W, on its device."""
    a, b = (half.to(weight.device).float() for half in pair)
    return (weight.float() + scaling * (b @ a)).to(weight.dtype)


def merged(
    tensors: Iterable[tuple[str, torch.Tensor]], adapters: AdapterSet | None, task: Task | None
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors with a task's adapter merged, as (canonical name, tensor).

    Merged tensors are float32. Others, and all of them if the task is None, are returned as they are.
    """
    pairs = adapters.load(task) if adapters is not None and task is not None else {}
    for name, tensor in tensors:
        pair = pairs.get(name.removesuffix(".weight"))
        yield name, tensor if adapters is None or pair is None else merge(tensor.float(), pair, adapters.scaling)


def split_adapter(adapters: AdapterSet, task: Task, cache: Path | None = None) -> Path:
    """A folder with one task's adapter in the format that PEFT and vLLM read, without the projector's tensors.

    The folder's name has a hash of the tensors and of the configuration, so that a changed checkpoint gets another one.
    It is renamed into place when it is complete, so several processes may create it at the same time.

    Raises:
        CheckpointNotFoundError: the cache folder can't be written.
    """
    tensors = {}
    for module, (a, b) in adapters.load(task).items():
        if module != PROJECTOR:
            tensors[f"base_model.model.{module}.lora_A.weight"] = a.contiguous()
            tensors[f"base_model.model.{module}.lora_B.weight"] = b.contiguous()
    targets = sorted({module.rsplit(".", 1)[-1] for module in adapters.modules(task)} - {PROJECTOR})
    config = {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "r": adapters.rank,
        "lora_alpha": adapters.config["lora_alpha"],
        "target_modules": targets,
        "bias": "none",
    }

    home = cache or default_cache()
    target = home / f"{task}-{_digest(tensors, config)}"
    if target.is_dir():
        return target
    from safetensors import SafetensorError

    try:
        home.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".making-", dir=home))
        try:
            _write_adapter(work, tensors, config)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        # Another process may have created it first; its content is the same, since the name has the content's hash.
        if not target.is_dir():
            raise CheckpointNotFoundError(
                f"the adapter cache {home} can't be written ({error}): set JINA_EMBEDDINGS_CACHE to a folder that can"
            ) from error
    return target


def _write_adapter(folder: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    # mkdtemp and save_file make them readable by their owner only, but a cache may be shared.
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


def default_cache() -> Path:
    """The folder `adapters` in `JINA_EMBEDDINGS_CACHE`, or in `~/.cache/jina-embeddings` where that isn't set."""
    root = os.environ.get("JINA_EMBEDDINGS_CACHE")
    base = Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jina-embeddings"
    return base / "adapters"


def _digest(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> str:
    import torch

    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:20]
