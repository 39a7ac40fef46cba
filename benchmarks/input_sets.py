"""The inputs of the throughput benchmark: real text in lengths that are known, and pages."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from texts import docstrings

# Tokens of a prompt, its prefix included.
LENGTHS = {"short": 27, "passages": 256, "long": 2000}


def make_texts(tokenizer_file: Path, counts: dict[str, int], prefix: str) -> dict[str, list[str]]:
    """Texts by set name: runs of docstrings that have the set's length in tokens, `prefix` included.

    counts: texts of each set; `mixed` has lengths from 8 to 1,000 tokens, most of them short.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    stream = _stream(tokenizer)
    num_prefix = len(tokenizer.encode(prefix, add_special_tokens=False).ids)
    rng = random.Random(0)
    made: dict[str, list[str]] = {}
    for name, count in counts.items():
        lengths = [LENGTHS.get(name) or int(8 * 125 ** (rng.random() ** 2)) for _ in range(count)]
        made[name] = [
            tokenizer.decode(list(itertools.islice(stream, length - num_prefix)), skip_special_tokens=False)
            for length in lengths
        ]
    return made


def _stream(tokenizer: object) -> Iterator[int]:
    """Token ids of all docstrings, over and over in another order each time."""
    for seed in itertools.count():
        for text in docstrings(5000, seed=seed):
            yield from tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]


def page(seed: int) -> Image.Image:
    """A page of text, A4 at 150 dots an inch, 1240 x 1754 pixels; another one for each seed."""
    image = Image.new("RGB", (1240, 1754), "white")
    draw = ImageDraw.Draw(image)
    lines = _lines()
    for line in range(60):
        draw.text((90, 90 + 26 * line), lines[(61 * seed + line) % len(lines)], fill="black", font_size=18)
    return image


def _lines() -> list[str]:
    if not _kept:
        _kept.extend(text.replace("\n", " ") for text in docstrings(3000, most=100))
    return _kept


_kept: list[str] = []
