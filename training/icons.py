"""Icons and their names on the device; they are small enough to be there all at once."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

from corpus import tables
from vision_stage import Icons

SIDE = 112
PREFIX = "Query: "
MAX_TOKENS = 48


def load_icons(build: Path, tokenizer: Tokenizer, device: str) -> Icons | None:
    """All pictures of the corpus at one size; None where there are none."""
    pixels, ids = [], []
    for _, table in tables("pictures-*", build):
        for png, text in zip(table["image"].to_pylist(), table["text"].to_pylist(), strict=True):
            with Image.open(io.BytesIO(png)) as image:
                pixels.append(np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
            ids.append(tokenizer.encode(PREFIX + text, add_special_tokens=False).ids[:MAX_TOKENS])
    if not pixels:
        return None
    lengths = torch.tensor([len(row) for row in ids])
    padded = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long)
    for row, values in zip(padded, ids, strict=True):
        row[: len(values)] = torch.tensor(values)
    return Icons(torch.from_numpy(np.stack(pixels)).to(device), padded.to(device), lengths.to(device))
