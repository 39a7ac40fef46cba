"""Text to a picture of a page, with the place of every word: fast enough to draw while a model trains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from page_fonts import Face, Word, face
from page_style import Colour, PageStyle, random_style

__all__ = ["Page", "PageStyle", "WordBox", "random_style", "render_page"]

# Chinese and Japanese break between any two characters, but not before closing punctuation.
IDEOGRAPH = r"\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff01-\uff60"
CLOSING = r"\u3001\u3002\u300d\u300f\u3011\u30fc\uff01\uff09\uff0c\uff1a\uff1b\uff1f"
PIECE = re.compile(rf"(\s*)([{IDEOGRAPH}][{CLOSING}]*|[^\s{IDEOGRAPH}]+)")
TAB = 4


class WordBox(NamedTuple):
    """`text[start:end]` lies in the rectangle from (x0, y0) to (x1, y1), in pixels from the top left."""

    start: int
    end: int
    x0: float
    y0: float
    x1: float
    y1: float


class Page(NamedTuple):
    """An RGB picture, its words in reading order, and how many characters of the text are on it."""

    image: Image.Image
    boxes: list[WordBox]
    num_characters: int


class Piece(NamedTuple):
    start: int
    end: int
    spaces: int
    breaks: int


class Placed(NamedTuple):
    word: Word
    start: int
    end: int
    x: int


def render_page(text: str, style: PageStyle) -> Page:
    """Sets the text in the style. What doesn't fit is left out; `text[:page.num_characters]` is what a reader sees.

    Line breaks of the text are kept, and one more of them than needed leaves a gap. A word that is wider than its
    column goes on in the next line and has a box for each part. Raises ValueError if the margins leave no room.
    """
    setter = Setter(style)
    setter.set(text)
    return setter.page()


class Setter:
    """Places words line by line, column by column; knows a page until it is painted."""

    def __init__(self, style: PageStyle) -> None:
        self.style = style
        self.body = face(style.regular, style.size, style.fallbacks)
        self.head = face(style.bold, round(style.size * style.heading_scale), style.fallbacks)
        gutters = style.gutter * (style.columns - 1)
        self.column_width = (style.width - 2 * style.margin_x - gutters) // style.columns
        self.bottom = style.height - style.margin_y
        if self.column_width < 2 * style.size or self.bottom - style.margin_y < self.pitch(self.head):
            raise ValueError(
                f"no room for text of {style.size} px on {style.width} x {style.height} px with margins of "
                f"{style.margin_x} and {style.margin_y} px: take a smaller size, smaller margins or a larger page"
            )
        self.column, self.top, self.lowest = 0, style.margin_y, style.margin_y
        self.mask = Image.new("L", (style.width, style.height))
        self.boxes: list[WordBox] = []
        self.rule_at: int | None = None
        self.body_from: int | None = None

    def pitch(self, font: Face) -> int:
        return max(round(font.size * self.style.line_height), font.ascent + font.descent + 1)

    def set(self, text: str) -> None:
        line: list[Placed] = []
        pen, font = 0, self.head if self.style.heading_words else self.body
        for number, piece in enumerate(pieces(text)):
            start, end, spaces, breaks = piece
            heading_ends = number > 0 and number == self.style.heading_words
            if breaks or heading_ends:
                if not self.set_line(line, font, justify=False):
                    return
                line, pen = [], min(spaces, 12) * self.body.space if breaks else 0
                self.top += self.pitch(self.body) // 2 if breaks > 1 or heading_ends else 0
                if heading_ends:
                    self.rule_at, font = self.top - self.pitch(self.body) // 4, self.body
            elif line:
                pen += spaces * font.space
            while True:
                word = font.word(text[start:end])
                if pen + word.advance <= self.column_width:
                    break
                if line:
                    if not self.set_line(line, font, justify=self.style.justify):
                        return
                elif not pen:
                    middle = start + font.fitting(text[start:end], self.column_width)
                    if middle == end:  # one character wider than the column
                        break
                    if not self.set_line([Placed(font.word(text[start:middle]), start, middle, 0)], font, False):
                        return
                    start = middle
                line, pen = [], 0
            line.append(Placed(word, start, end, pen))
            pen += word.advance
        self.set_line(line, font, justify=False)

    def set_line(self, line: list[Placed], font: Face, justify: bool) -> bool:
        """Paints the words of a line. False, and nothing painted, if the page is full."""
        if not line:
            return True
        pitch = self.pitch(font)
        if self.top + pitch > self.bottom:
            if self.column + 1 == self.style.columns:
                return False
            self.column, self.top = self.column + 1, self.style.margin_y
        if self.body_from is None and font is self.body:
            self.body_from = self.top
        left = self.style.margin_x + self.column * (self.column_width + self.style.gutter)
        slack = self.slack(line) if justify else 0
        baseline = self.top + (pitch - font.ascent - font.descent) // 2 + font.ascent
        above, below = float(baseline - font.ascent), float(baseline + font.descent)
        paste, add = self.mask.paste, self.boxes.append
        for index, (word, start, end, x) in enumerate(line):
            at = left + x + (slack * index // (len(line) - 1) if slack else 0)
            if word.image is not None:
                paste(word.image, (at + word.left, baseline + word.top))
            add(WordBox(start, end, float(at), above, float(at + word.advance), below))
        self.top += pitch
        self.lowest = max(self.lowest, self.top)
        return True

    def slack(self, line: list[Placed]) -> int:
        """What to share out among the gaps of a justified line; a line with little on it stays as it is."""
        missing = self.column_width - line[-1].x - line[-1].word.advance
        return missing if len(line) > 1 and missing < self.column_width // 4 else 0

    def page(self) -> Page:
        style = self.style
        image = coloured(self.mask, style.ink, style.paper)
        if style.decoration == "box" and style.columns == 1 and self.body_from is not None:
            pad = min(8, style.margin_x // 2, style.margin_y // 2)
            box = (
                style.margin_x - pad,
                self.body_from - pad // 2,
                style.width - style.margin_x + pad,
                self.lowest + pad,
            )
            image.paste(coloured(self.mask.crop(box), style.ink, style.box_paper), box[:2])
        elif style.decoration == "rules":
            ends = (style.margin_x, style.width - style.margin_x)
            middle = tuple((a + b) // 2 for a, b in zip(style.ink, style.paper, strict=True))
            for y in (style.margin_y // 2, style.height - style.margin_y // 2 - 1, self.rule_at):
                if y is not None:
                    image.paste(middle, (ends[0], y, ends[1], y + 1))
        return Page(image, self.boxes, self.boxes[-1].end if self.boxes else 0)


def pieces(text: str) -> Iterator[Piece]:
    """What may stand on a line of its own, with the spaces and line breaks before it."""
    for match in PIECE.finditer(text):
        gap = match[1]
        if gap == " ":
            yield Piece(match.start(2), match.end(), 1, 0)
            continue
        breaks = gap.count("\n")
        indent = gap.rpartition("\n")[2].expandtabs(TAB)
        yield Piece(match.start(2), match.end(), len(indent), breaks if match.start() else 0)


def coloured(mask: Image.Image, ink: Colour, paper: Colour) -> Image.Image:
    """Coverage 0 becomes paper, 255 ink, and what lies between a mixture."""
    levels = np.linspace(paper, ink, 256).round().astype(np.uint8)
    painted = mask.copy()
    painted.putpalette(levels.tobytes())
    return painted.convert("RGB")
