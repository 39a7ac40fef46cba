"""What a page looks like, and how to draw a look at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

Colour = tuple[int, int, int]
Decoration = Literal["none", "rules", "box"]

CELL = 28  # page sides are whole numbers of merged patches
WIDTHS = range(280, 505, CELL)
HEIGHTS = range(280, 673, CELL)
SIZES = range(13, 27)
DARK_SHARE = 0.1
TWO_COLUMN_SHARE = 0.12
HEADING_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class PageStyle:
    """The look of one page; lengths in pixels, `line_height` in multiples of `size`.

    `heading_words` words at the start are set in `bold`, `heading_scale` times as large. `trim` cuts the paper
    below the last line, down to a whole number of cells and not under the smallest page.
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
    trim: bool = True


def random_style(rng: Random, fonts: Sequence[Path], fallbacks: Sequence[Path] = ()) -> PageStyle:
    """A style whose body is one of `fonts`; a file named `X-Bold` beside `X-Regular` sets its headings.

    `fallbacks` are tried in order for words with characters that the font lacks. Raises ValueError without fonts.
    """
    if not fonts:
        raise ValueError("no fonts were given: pass at least one TTF path (run training/sources/fonts.py first)")
    regular = rng.choice(fonts)
    width, height, size = rng.choice(WIDTHS), rng.choice(HEIGHTS), round(rng.triangular(min(SIZES), max(SIZES), 16))
    two = rng.random() < TWO_COLUMN_SHARE and width >= 392 and size <= 16
    ink, paper = random_colours(rng)
    darker = rng.randint(12, 34) if sum(paper) > sum(ink) else -rng.randint(12, 34)
    return PageStyle(
        regular=regular,
        bold=bold_of(regular),
        fallbacks=tuple(fallbacks),
        width=width,
        height=height,
        size=size,
        line_height=rng.uniform(1.15, 1.65),
        margin_x=rng.randint(10, 28 if two else 40),
        margin_y=rng.randint(10, 40),
        columns=2 if two else 1,
        gutter=rng.randint(14, 28),
        ink=ink,
        paper=paper,
        box_paper=(clip(paper[0] - darker), clip(paper[1] - darker), clip(paper[2] - darker)),
        decoration=rng.choices(("none", "rules", "box"), (0.75, 0.13, 0.12))[0],
        heading_words=rng.randint(2, 7) if rng.random() < HEADING_SHARE else 0,
        heading_scale=rng.choice((1.0, 1.15, 1.3, 1.5)),
        justify=rng.random() < 0.25,
        trim=rng.random() < 0.7,
    )


def random_colours(rng: Random) -> tuple[Colour, Colour]:
    """Ink and paper: dark on light with a slight tint, or the other way round."""
    light = tint(rng, rng.randint(226, 255), rng.choice((0, 0, 4, 14)))
    dark = tint(rng, rng.randint(0, 70), rng.choice((0, 0, 10, 24)))
    return (light, dark) if rng.random() < DARK_SHARE else (dark, light)


def tint(rng: Random, level: int, spread: int) -> Colour:
    return (
        clip(level + rng.randint(-spread, spread)),
        clip(level + rng.randint(-spread, spread)),
        clip(level + rng.randint(-spread, spread)),
    )


def clip(level: int) -> int:
    return min(255, max(0, level))


def bold_of(regular: Path) -> Path:
    """The bold face of the family where there is one beside it, otherwise the face itself."""
    bold = regular.with_name(f"{regular.stem.rsplit('-', 1)[0]}-Bold{regular.suffix}")
    return bold if bold.exists() else regular
