"""What a page looks like, and how to draw a look at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

Colour = tuple[int, int, int]
T = TypeVar("T")
Decoration = Literal["none", "rules", "box"]

CELL = 28  # page sides are whole numbers of merged patches
WIDTHS = range(280, 505, CELL)
HEIGHTS = range(280, 673, CELL)
SIZES = range(13, 27)
COMMON_SIZE = 16
DARK_SHARE = 0.1
TWO_COLUMN_SHARE = 0.12
HEADING_SHARE = 0.3
HEADING_SCALES = (1.0, 1.15, 1.3, 1.5)
JUSTIFIED_SHARE = 0.25
DECORATED_SHARE = 0.25
DECORATIONS: tuple[Decoration, ...] = ("rules", "box")


@dataclass(frozen=True, slots=True)
class PageStyle:
    """The look of one page; lengths in pixels, `line_height` in multiples of `size`.

    `heading_words` words at the start are set in `bold`, `heading_scale` times as large. `fallbacks` are tried in
    order for words with characters that the font lacks.
    """

    regular: Path
    bold: Path
    fallbacks: tuple[Path, ...] = ()
    width: int = 392
    height: int = 504
    size: int = 18
    line_height: float = 1.4
    margin_x: int = 24
    margin_y: int = 24
    columns: int = 1
    gutter: int = 20
    ink: Colour = (20, 20, 20)
    paper: Colour = (255, 255, 255)
    box_paper: Colour = (232, 232, 232)
    decoration: Decoration = "none"
    heading_words: int = 0
    heading_scale: float = 1.25
    justify: bool = False


def random_style(rng: np.random.Generator, fonts: Sequence[Path], size: tuple[int, int] | None = None) -> PageStyle:
    """A style whose body is one of `fonts`, on paper of `size` (width, height) if given.

    A file `X-Bold` beside `X-Regular` sets its headings; the files of a folder `fallback` beside the font are its
    fallbacks. Raises ValueError without fonts.
    """
    if not fonts:
        raise ValueError("no fonts were given: pass at least one TTF path (run training/sources/fonts.py first)")
    regular = pick(rng, fonts)
    width, height = size or (pick(rng, WIDTHS), pick(rng, HEIGHTS))
    letters = round(rng.triangular(min(SIZES), COMMON_SIZE, max(SIZES)))
    two = rng.random() < TWO_COLUMN_SHARE and width >= 392 and letters <= 16
    ink, paper = random_colours(rng)
    darker = int(rng.integers(12, 35)) * (1 if sum(paper) > sum(ink) else -1)
    return PageStyle(
        regular=regular,
        bold=bold_of(regular),
        fallbacks=fallbacks_of(regular.parent),
        width=width,
        height=height,
        size=letters,
        line_height=rng.uniform(1.15, 1.65),
        margin_x=int(rng.integers(10, 29 if two else 41)),
        margin_y=int(rng.integers(10, 41)),
        columns=2 if two else 1,
        gutter=int(rng.integers(14, 29)),
        ink=ink,
        paper=paper,
        box_paper=(clip(paper[0] - darker), clip(paper[1] - darker), clip(paper[2] - darker)),
        decoration=pick(rng, DECORATIONS) if rng.random() < DECORATED_SHARE else "none",
        heading_words=int(rng.integers(2, 8)) if rng.random() < HEADING_SHARE else 0,
        heading_scale=pick(rng, HEADING_SCALES),
        justify=bool(rng.random() < JUSTIFIED_SHARE),
    )


def random_size(rng: np.random.Generator, grown: float) -> tuple[int, int]:
    """Width and height of a page, or of a piece of one that is the smaller the less has `grown` from 0 to 1."""
    if rng.random() < grown**2:
        return pick(rng, WIDTHS), pick(rng, HEIGHTS)
    width, height = (small + grown * (large - small) for small, large in ((140, 504), (84, 672)))
    return (
        CELL * int(rng.integers(84 // CELL, int(width) // CELL + 1)),
        CELL * int(rng.integers(56 // CELL, int(height) // CELL + 1)),
    )


def piece_style(rng: np.random.Generator, fonts: Sequence[Path], size: tuple[int, int]) -> PageStyle:
    """A style for a piece of a page, with narrow margins."""
    style = random_style(rng, fonts, size)
    return replace(
        style,
        size=min(style.size, 20 if min(size) < 84 else 26),
        margin_x=int(rng.integers(2, 10)),
        margin_y=int(rng.integers(2, 8)),
        columns=1,
        heading_words=0,
        heading_scale=1.0,
        decoration="none",
    )


def random_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Ink and paper: dark on light with a slight tint, or the other way round."""
    light = tint(rng, int(rng.integers(226, 256)), pick(rng, (0, 0, 4, 14)))
    dark = tint(rng, int(rng.integers(0, 71)), pick(rng, (0, 0, 10, 24)))
    return (light, dark) if rng.random() < DARK_SHARE else (dark, light)


def tint(rng: np.random.Generator, level: int, spread: int) -> Colour:
    red, green, blue = (level + int(shift) for shift in rng.integers(-spread, spread + 1, 3))
    return clip(red), clip(green), clip(blue)


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def clip(level: int) -> int:
    return min(255, max(0, level))


@cache
def bold_of(regular: Path) -> Path:
    """The bold face of the family where there is one beside it, otherwise the face itself."""
    bold = regular.with_name(f"{regular.stem.rsplit('-', 1)[0]}-Bold{regular.suffix}")
    return bold if bold.exists() else regular


@cache
def fallbacks_of(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted((folder / "fallback").glob("*.[ot]tf")))
