"""Means of what was trained:

    python training/average.py checkpoints FIRST SECOND OUT           # of which one was trained from the other
    python training/average.py adapters CHECKPOINT OUT retrieval=code:0.5 code=retrieval:0.6

The first averages all weights of two checkpoints; everything but weights is the first one's. The second moves the adapters
of tasks such a share of the way to another task's, as both were. Such means often find more than either (Wortsman et al. 2022, "Model
soups"). Of adapters what they add to a matrix is averaged, and cut to their rank.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
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
    part.add_argument("out", type=Path)
    part.add_argument("moves", nargs="+", type=Move.of, metavar="TASK=OTHER:SHARE")
    options = parser.parse_args()
    if options.command == "checkpoints":
        average(options.first, options.second, options.out)
    else:
        move_adapters(options.checkpoint, options.moves, options.out)


@dataclass(frozen=True)
class Move:
    """Of a task's adapter, a share of the way to another one's."""

    task: str
    other: str
    share: float

    @classmethod
    def of(cls, text: str) -> Move:
        """
        >>> Move.of("code=retrieval:0.6")
        Move(task='code', other='retrieval', share=0.6)
        """
        task, _, rest = text.partition("=")
        other, _, share = rest.partition(":")
        return cls(task, other, float(share))


def average(first: Path, second: Path, out: Path) -> None:
    """Writes the mean of both as a checkpoint of its own."""
    shutil.copytree(first, out)
    for file, mean in ((WEIGHTS, mean_of_weights), (ADAPTERS, mean_of_adapters)):
        _save(mean(load_file(first / file), load_file(second / file)), out / file)


def move_adapters(checkpoint: Path, moves: Sequence[Move], out: Path) -> None:
    """Writes the checkpoint with these adapters moved, each to where the other one was."""
    tensors = load_file(checkpoint / ADAPTERS)
    moved = dict(tensors)
    for move in moves:
        own = {name: tensor for name, tensor in tensors.items() if f".{move.task}." in name}
        if not own:
            raise SystemExit(f"{checkpoint} has no adapter for {move.task}")
        theirs = {name: tensors[name.replace(f".{move.task}.", f".{move.other}.")] for name in own}
        moved |= mean_of_adapters(own, theirs, move.share)
    shutil.copytree(checkpoint, out)
    _save(moved, out / ADAPTERS)


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
