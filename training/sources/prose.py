"""English prose in pieces of a useful length: sentences, paragraphs of 40 to 200 words, and pairs cut out of running text."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 1600
WORDS = (40, 200)
END = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[\"'(\[]?[A-Z0-9])")
ABBREVIATION = re.compile(
    r"(\b[A-Z]|\b(e\.g|i\.e|etc|vs|cf|St|Mr|Mrs|Dr|Prof|No|Vol|Fig|ed|pp|c|ca|approx|est|Jr|Sr|U\.S|Inc|Co|Ltd))\.$"
)


def squeeze(text: str) -> str:
    """Single spaces, plain quotes, nothing at the ends."""
    text = text.replace("\u00ad", "").replace("\u00a0", " ").replace("\u00b6", "")
    return re.sub(r"\s+", " ", text).strip()


def is_prose(text: str, shortest: int = 30) -> bool:
    """Mostly words, and long enough to mean something."""
    letters = sum(c.isalpha() or c == " " for c in text)
    return len(text) >= shortest and text.count(" ") >= 4 and letters >= 0.8 * len(text)


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph; an abbreviation doesn't end one."""
    parts: list[str] = []
    for part in END.split(text):
        if parts and ABBREVIATION.search(parts[-1]):
            parts[-1] += " " + part
        else:
            parts.append(part)
    return parts


def paragraphs(blocks: list[str]) -> Iterator[str]:
    """Joins short neighbouring blocks and cuts long ones: pieces of about 40 to 200 words, never above 1,600 characters."""
    piece: list[str] = []
    count = 0
    for block in blocks:
        for part in [block] if block.count(" ") < WORDS[1] else sentences(block):
            part = part[:LONGEST]
            words = part.count(" ") + 1
            if piece and (count + words > WORDS[1] or len(" ".join(piece)) + len(part) >= LONGEST):
                yield " ".join(piece)
                piece, count = [], 0
            piece.append(part)
            count += words
        if count >= WORDS[0]:
            yield " ".join(piece)
            piece, count = [], 0
    if piece:
        yield " ".join(piece)


def cloze(paragraph: str, pick: int) -> tuple[str, str] | None:
    """One sentence and the paragraph without it; None if too little is left on either side."""
    parts = sentences(paragraph)
    if len(parts) < 3:
        return None
    chosen = parts.pop(pick % len(parts))
    rest = " ".join(parts)
    if not is_prose(chosen, 40) or rest.count(" ") < 30:
        return None
    return chosen, rest
