"""Checks that a checkpoint is complete, and describes what is in it and how much memory it takes."""

from __future__ import annotations

import math
from typing import Any

from ...checkpoint import Checkpoint, open_checkpoint
from ...errors import CheckpointInvalidError, CheckpointNotFoundError, JinaEmbeddingsError, TaskUnavailableError
from ...inputs.processor import read_image_config
from ...inputs.prompts import resolve_task
from .report import GIB, Report

_REMEDIES: dict[type[JinaEmbeddingsError], str] = {
    CheckpointNotFoundError: "check the name or the path, or download it again",
    CheckpointInvalidError: "download it again; if it was converted, convert it again",
    TaskUnavailableError: "name the task that it was merged for with --task",
}
_ITEM_BYTES = {"float32": 4, "bfloat16": 2}


def check_checkpoint(
    report: Report, model: str, *, task: str | None, revision: str | None, local_files_only: bool
) -> Checkpoint | None:
    """Adds the section `checkpoint`. Returns the checkpoint, or None if it can't be used."""
    try:
        plain_task = None if task is None else resolve_task(task)[0]
        checkpoint = open_checkpoint(model, task=plain_task, revision=revision, local_files_only=local_files_only)
        checkpoint.tokenizer()
        image_config = read_image_config(checkpoint)
    except JinaEmbeddingsError as error:
        report.sections["checkpoint"] = {"model": model, "error": error.code}
        remedy = next((text for kind, text in _REMEDIES.items() if isinstance(error, kind)), "see the message")
        report.problem(f"checkpoint: {error}", remedy)
        return None
    needed = _memory(checkpoint)
    report.sections["checkpoint"] = {
        **_description(checkpoint),
        "min_pixels": image_config.min_pixels,
        "max_pixels": image_config.max_pixels,
        "memory_for_weights": {f"{dtype}_bytes": size for dtype, size in needed.items()},
    }
    _check_fit(report, needed)
    return checkpoint


def _description(checkpoint: Checkpoint) -> dict[str, Any]:
    config, entries = checkpoint.config, checkpoint.weights.entries.values()
    return {
        "model": checkpoint.name,
        "revision": checkpoint.revision,
        "folder": str(checkpoint.folder),
        "layout": "merged" if checkpoint.adapters is None else "multi-task",
        "tasks": list(checkpoint.tasks),
        "multivector_dim": config.multivector_dim,
        "stored_as": sorted({entry.dtype for entry in entries}),
        "files": len({entry.file for entry in entries}),
        "weights_bytes": checkpoint.weights.num_bytes,
        "adapters_bytes": 0 if checkpoint.adapters is None else checkpoint.adapters.num_bytes,
        "parameters": sum(math.prod(entry.shape) for entry in entries),
        "layers": config.num_layers,
        "hidden_size": config.hidden_size,
        "vision_layers": config.vision.depth,
        "vocabulary": config.vocab_size,
        "max_length": config.max_length,
        "matryoshka_dims": list(config.matryoshka_dims),
    }


def _memory(checkpoint: Checkpoint) -> dict[str, int]:
    entries = list(checkpoint.weights.entries.values())
    if checkpoint.adapters is not None:
        entries += [entry for pair in checkpoint.adapters.pairs.values() for entry in pair]
    numbers = sum(math.prod(entry.shape) for entry in entries)
    return {dtype: numbers * size for dtype, size in _ITEM_BYTES.items()}


def _check_fit(report: Report, needed: dict[str, int]) -> None:
    """Compares the memory needed with what is free on the default device, for the default dtype."""
    gpus, host = report.sections["gpus"], report.sections["host"]
    device, dtype = (gpus[0]["name"], "bfloat16") if gpus else ("this host", "float32")
    free = gpus[0]["free_bytes"] if gpus else host["available_bytes"]
    if needed[dtype] < free:
        return
    remedy = "free memory there, or use another device"
    if needed["bfloat16"] < free:
        remedy = "use dtype bfloat16, or " + remedy
    what = f"the weights take {needed[dtype] / GIB:.1f} GiB in {dtype}, and {device} has {free / GIB:.1f} GiB free"
    report.problem(what, remedy)
