"""Means of what was trained:

    python training/average.py checkpoints FIRST SECOND OUT           # of which one was trained from the other
    python training/average.py adapters CHECKPOINT TASK OTHER OUT --share 0.75

The first averages all weights of two checkpoints; everything but weights is the first one's. The second moves the adapter
of a task that share of the way to another task's. Such means often find more than either (Wortsman et al. 2022, "Model
soups"). Of adapters what they add to a matrix is averaged, and cut to their rank.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS, ADAPTERS = Path("model.safetensors"), Path("adapters", "adapter_model.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    whole, part = commands.add_parser("checkpoints"), commands.add_parser("adapters")
    for name in ("first", "second", "out"):
        whole.add_argument(name, type=Path)
    part.add_argument("checkpoint", type=Path)
    part.add_argument("task")
    part.add_argument("other")
    part.add_argument("out", type=Path)
    part.add_argument("--share", type=float, required=True)
    options = parser.parse_args()
    if options.command == "checkpoints":
        average(options.first, options.second, options.out)
    else:
        move_adapter(options.checkpoint, options.task, options.other, options.share, options.out)


def average(first: Path, second: Path, out: Path) -> None:
    """Writes the mean of both as a checkpoint of its own."""
    shutil.copytree(first, out)
    for file, mean in ((WEIGHTS, mean_of_weights), (ADAPTERS, mean_of_adapters)):
        _save(mean(load_file(first / file), load_file(second / file)), out / file)


def move_adapter(checkpoint: Path, task: str, other: str, share: float, out: Path) -> None:
    """Writes the checkpoint with the task's adapter moved."""
    shutil.copytree(checkpoint, out)
    tensors = load_file(checkpoint / ADAPTERS)
    own = {name: tensor for name, tensor in tensors.items() if f".{task}." in name}
    theirs = {name: tensors[name.replace(f".{task}.", f".{other}.")] for name in own}
    _save(tensors | mean_of_adapters(own, theirs, share), out / ADAPTERS)


def mean_of_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: ((first[name].float() + second[name].float()) / 2).half() for name in first}


def mean_of_adapters(first: dict[str, Tensor], second: dict[str, Tensor], share: float = 0.5) -> dict[str, Tensor]:
    """Factors of the nearest matrices to the means of B A that have their rank (Eckart and Young 1936).

    share: of the second in the mean.
    """
    mean = {}
    for name_a in [name for name in first if ".lora_A." in name]:
        name_b = name_a.replace(".lora_A.", ".lora_B.")
        one, other = (pair[name_b].float() @ pair[name_a].float() for pair in (first, second))
        left, values, right = torch.linalg.svd((1 - share) * one + share * other, full_matrices=False)
        rank = len(first[name_a])
        root = values[:rank].sqrt()
        mean[name_a] = (root[:, None] * right[:rank]).half().contiguous()
        mean[name_b] = (left[:, :rank] * root).half().contiguous()
    return {name: mean[name] for name in first}


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    save_file(tensors, file, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
