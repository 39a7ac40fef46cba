"""From the names and tags of an icon to a phrase that a person might search with, and to the thing it shows."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 120
MOST_TAGS = 7
# How a thing is drawn, not what it is.
STYLE_WORDS = {"outline", "outlined", "filled", "fill", "variant", "icon", "svg", "clipart", "clip art", "png", "image"}
# After these a number is part of what is shown; after others it tells drawings apart.
COUNTED = {"hour", "clock", "dice", "numeric", "number", "circle", "square", "slice", "box", "multiple", "hexagon"}
COUNTED |= {
    "rating",
    "level",
    "strength",
    "numeral",
    "header",
    "badge",
    "timer",
    "speed",
    "rewind",
    "forward",
    "signal",
}


def words_of(name: str) -> str:
    """`tool-box_2 (red)` -> `tool box red`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name)
    plain = re.sub(r"[^\w'&+:#%.]+|_", " ", spaced)
    kept = [word for word in plain.split() if word.lower() not in STYLE_WORDS]
    while len(kept) > 1 and re.fullmatch(r"0*\d|v\d", kept[-1]) and kept[-2].lower() not in COUNTED:
        kept.pop()
    return " ".join(kept)


def phrase(name: str, tags: Iterable[str]) -> str:
    """The name and up to MOST_TAGS tags that add a word, with commas between them."""
    parts = [name.strip()]
    seen = set(parts[0].lower().split())
    for tag in tags:
        tag = words_of(tag) if re.fullmatch(r"\S+", tag) else tag.strip()
        new = {word for word in tag.lower().split() if not {word, word.removesuffix("s")} & seen}
        if len(parts) > MOST_TAGS or len(", ".join([*parts, tag])) > LONGEST:
            break
        if new and tag.lower() not in STYLE_WORDS and (len(tag) > 1 or not parts[0]):
            parts.append(tag)
            seen |= new
    return ", ".join(part for part in parts if part)


def group_of(name: str) -> str:
    """The same for drawings of one thing in several styles and sources."""
    return re.sub(r"[^\w+#]+", " ", words_of(name).lower()).strip()
