"""The mean of two checkpoints of which one was trained from the other:  python training/average.py FIRST SECOND OUT

Such a mean often finds more than either (Wortsman et al. 2022, "Model soups"). What adapters add to a matrix is averaged,
and cut to the adapters' rank; everything but weights is the first one's.
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":  ")[0])
    for name in ("first", "second", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    average(options.first, options.second, options.out)


def average(first: Path, second: Path, out: Path) -> None:
    """Writes the mean of both as a checkpoint of its own."""
    shutil.copytree(first, out)
    for file, mean in ((WEIGHTS, mean_of_weights), (ADAPTERS, mean_of_adapters)):
        save_file(mean(load_file(first / file), load_file(second / file)), out / file, metadata={"format": "pt"})


def mean_of_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: ((first[name].float() + second[name].float()) / 2).half() for name in first}


def mean_of_adapters(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """Factors of the nearest matrices to the means of B A that have their rank (Eckart and Young 1936)."""
    mean = {}
    for name_a in [name for name in first if ".lora_A." in name]:
        name_b = name_a.replace(".lora_A.", ".lora_B.")
        product = sum(pair[name_b].float() @ pair[name_a].float() for pair in (first, second)) / 2
        left, values, right = torch.linalg.svd(product, full_matrices=False)
        rank = len(first[name_a])
        root = values[:rank].sqrt()
        mean[name_a] = (root[:, None] * right[:rank]).half().contiguous()
        mean[name_b] = (left[:, :rank] * root).half().contiguous()
    return {name: mean[name] for name in first}


if __name__ == "__main__":
    main()
