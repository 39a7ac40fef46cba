"""Makes a checkpoint deeper, which goes on to give the same vectors:

    python training/grow.py CHECKPOINT OUT 3 6

After each of these layers, counted from one, comes a copy of it that adds nothing yet: what it gives out is zero (Wu et al.
2024, "LLaMA Pro"). The shape in sizes.py must be the new one's.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from average import ADAPTERS, WEIGHTS

LAYER = re.compile(r"(.*(?:^|\.)model\.(?:language_model\.)?layers\.)(\d+)(\..*)")
SILENT = "self_attn.o_proj.weight", "mlp.down_proj.weight"
"""What a layer's two branches give out."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("after", type=int, nargs="+", help="numbers of the layers that are copied, from one")
    options = parser.parse_args()
    grow(options.checkpoint, options.out, set(options.after))


def grow(checkpoint: Path, out: Path, after: Collection[int]) -> None:
    """Writes the deeper checkpoint; everything but weights and the number of layers is the old one's.

    after: numbers of layers from one.
    """
    config = json.loads((checkpoint / "config.json").read_text())
    layers = config["num_hidden_layers"]
    if missing := sorted(number for number in after if not 1 <= number <= layers):
        raise SystemExit(f"{checkpoint} has layers 1 to {layers}, none of number {missing[0]}")
    shutil.copytree(checkpoint, out)
    for file in (WEIGHTS, ADAPTERS):
        save_file(grown(load_file(checkpoint / file), after), out / file, metadata={"format": "pt"})
    for part in (config, config["text_config"]):
        part["num_hidden_layers"] = layers + len(after)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def grown(tensors: dict[str, Tensor], after: Collection[int]) -> dict[str, Tensor]:
    """The tensors with their layers numbered anew, and the copies between them; a copy's adapters add nothing."""
    new = {}
    for name, tensor in tensors.items():
        match = LAYER.fullmatch(name)
        if match is None:
            new[name] = tensor
            continue
        head, number, rest = match[1], int(match[2]), match[3]
        at = number + sum(copied <= number for copied in after)
        new[f"{head}{at}{rest}"] = tensor
        if number + 1 in after:
            silent = rest[1:] in SILENT or ".lora_B." in rest
            new[f"{head}{at + 1}{rest}"] = tensor.new_zeros(tensor.shape) if silent else tensor.clone()
    return new


if __name__ == "__main__":
    main()
