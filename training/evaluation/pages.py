"""Unseen text drawn as pages, with fonts of the training and with fonts that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .heldout import AbsentError

SEED = 30
FONTS = {"pages": "fonts", "pages-new-fonts": "fonts-heldout"}
"""Name of the set, and the folder of `training/build` that its fonts are in."""


@dataclass(frozen=True)
class PageSet:
    """Page i is a picture of text i, which is cut to what is on it."""

    name: str
    texts: tuple[str, ...]
    images: tuple[Image.Image, ...]


def draw(name: str, texts: Sequence[str], fonts: Path, seed: int = SEED) -> PageSet:
    """A page of each text in a style drawn from the seed; the same pages every time for the same fonts.

    Raises:
        AbsentError: no fonts in the folder.
    """
    from pages import random_style, render_page

    files = sorted(path for path in fonts.glob("*.[ot]tf") if "Bold" not in path.stem)
    if not files:
        raise AbsentError(f"no fonts in {fonts}: run training/sources/fonts.py first")
    rng = np.random.default_rng(seed)
    cut, images = [], []
    for text in texts:
        page = render_page(text, random_style(rng, files))
        cut.append(text[: page.num_characters])
        images.append(page.image)
    return PageSet(name, tuple(cut), tuple(images))
