"""The inputs of the throughput benchmark: real texts of given lengths, and pages."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from texts import docstrings

# Tokens of a prompt, its prefix included.
LENGTHS = {"short": 27, "many": 27, "passages": 256, "long": 2000}

# Heights and widths in pixels: a megapixel, and what a spreadsheet draws.
PHOTOGRAPH, CHART = (864, 1152), (300, 400)
# Height of a line in pixels, and the number of distinct pages that are drawn.
_LINE, _DRAWN = 26, 32


def make_texts(tokenizer_file: Path, counts: dict[str, int], prefix: str) -> dict[str, list[str]]:
    """Texts by set name: parts of docstrings with the set's length in tokens, `prefix` included.

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
    """Yields the token ids of all docstrings, again and again in a different order."""
    for seed in itertools.count():
        for text in docstrings(5000, seed=seed):
            yield from tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]


def make_pages(count: int) -> np.ndarray:
    """Pages of text, A4 at 150 dots an inch: uint8 (count, 1754, 1240, 3).

    Drawing takes longer than embedding, so each is drawn once and comes back with its lines in another order.
    """
    drawn = [np.asarray(_page(seed)) for seed in range(min(count, _DRAWN))]
    return np.stack([np.roll(drawn[i % _DRAWN], _LINE * (i // _DRAWN), axis=0) for i in range(count)])


def _page(seed: int) -> Image.Image:
    image = Image.new("RGB", (1240, 1754), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(make_lines(60, seed)):
        draw.text((90, 90 + _LINE * number), line, fill="black", font_size=18)
    return image


def make_media(count: int) -> list[np.ndarray]:
    """Photographs of a megapixel and charts of 400 x 300 pixels, in turn: uint8 (height, width, 3)."""
    rng = np.random.default_rng(0)
    photographs = [_smooth(rng, *PHOTOGRAPH) for _ in range(8)]
    charts = [_smooth(rng, *CHART) for _ in range(8)]
    # Shifted, so that no two are the same.
    return [np.roll((photographs, charts)[i % 2][i // 2 % 8], 1 + i // 16, axis=1) for i in range(count)]


def _smooth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = Image.fromarray(rng.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def text_pdf(lines: Sequence[str]) -> bytes:
    """A PDF with one A4 page of these lines."""
    shown = [line.encode("ascii", "replace").replace(b"\\", b"\\\\") for line in lines]
    shown = [line.replace(b"(", b"\\(").replace(b")", b"\\)") for line in shown]
    text = b"BT /F1 9 Tf 12 TL 45 800 Td " + b" ".join(b"(%s) Tj T*" % line for line in shown) + b" ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + table + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(out)


def make_lines(count: int, seed: int) -> list[str]:
    """Lines of text, others for each seed."""
    lines = _lines()
    return [lines[(61 * seed + number) % len(lines)] for number in range(count)]


@cache
def _lines() -> list[str]:
    return [text.replace("\n", " ") for text in docstrings(2500, most=100)]
