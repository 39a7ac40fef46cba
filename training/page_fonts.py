"""One typeface at one size, with every glyph and word that was drawn kept for the next page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Words kept for one face at one size; a process that renders with 200 of them stays near 250 MB.
MAX_WORDS = 1_500
NO_SUCH_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Glyph:
    """Coverage of one character, (bottom - top, width). `left` is from the pen, the rest from the baseline; pixels."""

    coverage: NDArray[np.uint8]
    left: int
    top: int
    bottom: int
    width: int
    advance: int


@dataclass(frozen=True, slots=True)
class Word:
    """A drawn word: coverage in mode L (None if blank), its place from the pen and the baseline; pixels."""

    image: Image.Image | None
    left: int
    top: int
    advance: int


class Face:
    """Draws words in one font file at one size; characters that it lacks are looked for in the fallbacks."""

    def __init__(self, path: Path, size: int, fallbacks: tuple[Path, ...] = ()) -> None:
        self.size = size
        self._font = ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
        self._fallbacks = fallbacks
        self._glyphs: dict[str, Glyph] = {}
        self._words: dict[str, Word] = {}
        # Boxes reach from the tops of tall letters to the bottoms of tails, whatever the word is.
        self.ascent = -int(self._font.getbbox("bdhklT", anchor="ls")[1])
        self.descent = int(self._font.getbbox("gjpqy", anchor="ls")[3])
        self.space = self.glyph(" ").advance

    def glyph(self, character: str) -> Glyph:
        """The character in this font alone: the font's own sign for what it lacks if it lacks it."""
        if (known := self._glyphs.get(character)) is None:
            known = self._glyphs[character] = self._draw(character)
        return known

    def covers(self, word: str) -> bool:
        """Whether the font has every character of the word."""
        missing = self.glyph(NO_SUCH_CHARACTER)
        return not any(same(self.glyph(character), missing) for character in word)

    def word(self, text: str) -> Word:
        """The word, from this font or the first fallback that has all of it."""
        if (known := self._words.get(text)) is None:
            if len(self._words) >= MAX_WORDS:
                self._words.clear()
            known = self._words[text] = self._compose(text)
        return known

    def fitting(self, text: str, width: int) -> int:
        """How many characters of a text without spaces fit into `width` pixels; at least one."""
        pen = 0
        for count, character in enumerate(text):
            pen += self.word(character).advance
            if pen > width:
                return max(1, count)
        return len(text)

    def _compose(self, text: str) -> Word:
        if not text.isascii() and not self.covers(text):
            for path in self._fallbacks:
                other = face(path, self.size)
                if other.covers(text):
                    return other.word(text)
        placed: list[tuple[int, Glyph]] = []
        pen, left, right, top, bottom = 0, 0, 0, 0, 0
        for character in text:
            glyph = self.glyph(character)
            if glyph.width:
                x = pen + glyph.left
                placed.append((x, glyph))
                left, right = min(left, x), max(right, x + glyph.width)
                top, bottom = min(top, glyph.top), max(bottom, glyph.bottom)
            pen += glyph.advance
        if not placed:
            return Word(None, 0, 0, pen)
        canvas = np.zeros((bottom - top, right - left), np.uint8)
        for x, glyph in placed:
            into = canvas[glyph.top - top : glyph.bottom - top, x - left : x - left + glyph.width]
            np.maximum(into, glyph.coverage, out=into)
        return Word(Image.fromarray(canvas), left, top, pen)

    def _draw(self, character: str) -> Glyph:
        pad = 2 * self.size
        sheet = Image.new("L", (5 * self.size, 4 * self.size))
        ImageDraw.Draw(sheet).text((pad, pad), character, font=self._font, fill=255, anchor="ls")
        advance = round(self._font.getlength(character))
        if (box := sheet.getbbox()) is None:
            return Glyph(np.zeros((0, 0), np.uint8), 0, 0, 0, 0, advance)
        left, top, right, bottom = box
        return Glyph(np.array(sheet.crop(box)), left - pad, top - pad, bottom - pad, right - left, advance)


def same(one: Glyph, other: Glyph) -> bool:
    return one.advance == other.advance and np.array_equal(one.coverage, other.coverage)


@cache
def face(path: Path, size: int, fallbacks: tuple[Path, ...] = ()) -> Face:
    """The face, opened once a process. Raises OSError if the file is missing or no font."""
    return Face(path, size, fallbacks)
