"""Two dictionaries in the public domain that read like prose: the Jargon File and The Devil's Dictionary."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from packages import fetch, members
from prose import squeeze

JARGON = "deb:jargon-text=4.4.7-4.1"
DEVIL = "deb:dict-devil=1.0-13.1"
LICENCES = {JARGON: "public domain", DEVIL: "public domain"}


def jargon(cache: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Group, term and the paragraphs that explain it."""
    for _, content in members(fetch(JARGON, cache), r"jargon\.txt\.gz$"):
        text = gzip.decompress(content).decode("utf-8", errors="replace")
        for entry in re.split(r"\n   :(?=[^\n]{1,60}: )", text)[1:]:
            term, _, rest = entry.partition(":")
            blocks = [squeeze(block) for block in re.split(r"\n\s*\n", rest)[1:]]
            blocks = [re.sub(r"[{}]", "", block) for block in blocks if block]
            if blocks:
                blocks[0] = f"{term}: {blocks[0]}"
                yield "jargon", term, blocks


def devil(cache: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Group, term and what Ambrose Bierce says of it, without the verses."""
    for _, content in members(fetch(DEVIL, cache), r"devil\.dict\.dz$"):
        text = gzip.decompress(content).decode("utf-8", errors="replace")
        for entry in re.split(r"\n\n(?=[A-Z][A-Z' -]+, (?:n|v|adj|adv|pp|p|x|v\.[it])\.)", text)[1:]:
            term, _, rest = entry.partition(",")
            prose = [squeeze(block) for block in rest.split("\n\n") if not block.startswith("    ")]
            yield (
                "devil",
                term.capitalize(),
                [f"{term.capitalize()},{prose[0] if prose[0].startswith(' ') else ' ' + prose[0]}", *prose[1:]],
            )
