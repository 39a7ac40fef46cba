"""LibreOffice's help: the same page in every language, paragraphs with the same id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packages import fetch, members

VERSION = "4:7.4.7-1+deb12u14"
LICENCE = "MPL-2.0"
LANGUAGES = {
    "de": "de", "fr": "fr", "es": "es", "it": "it", "pt": "pt", "pt-br": "pt", "nl": "nl", "ru": "ru", "pl": "pl", "sv": "sv",
    "tr": "tr", "zh-cn": "zh", "zh-tw": "zh", "ja": "ja", "ko": "ko",
}  # fmt: skip
BLOCK = re.compile(r'<(p|h[1-6]) id="((?:par|hd)_[^"]+)"(?: class="(\w+)")?[^>]*>(.*?)</\1>', re.DOTALL)
HIDDEN = re.compile(r'<span hidden="true"[^>]*>[^<]*</span>')
TAGS = re.compile("<[^>]+>")


def package(language: str) -> str:
    return f"deb:libreoffice-help-{language}={VERSION}"


def blocks(language: str, cache: Path) -> dict[tuple[str, str], str]:
    """Text of every paragraph and heading by page and id."""
    found = {}
    for path, content in members(fetch(package(language), cache), r"/help/[\w-]+/text/.*\.html$"):
        page = path.split("/text/", 1)[1]
        for _, number, style, inner in BLOCK.findall(content.decode("utf-8", "replace")):
            if style != "code":
                found[page, number] = TAGS.sub("", HIDDEN.sub("", inner))
    return found


def pairs(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Text, English text, language and page."""
    english = blocks("en-us", cache)
    for name, language in LANGUAGES.items():
        for key, content in blocks(name, cache).items():
            if key in english:
                yield content, english[key], language, f"libreoffice-help/{key[0]}"
