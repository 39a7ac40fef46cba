"""CLDR's names of languages, scripts, places and emoji, and the words that describe an emoji."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packages import fetch, members
from translations_json import flat
from translations_languages import language_of

VERSION = "48.2.0"
LICENCE = "Unicode-3.0"
PACKAGES = {
    f"npm:cldr-localenames-full@{VERSION}": r"package/main/([\w-]+)/(languages|scripts|territories|variants)\.json$",
    f"npm:cldr-annotations-full@{VERSION}": r"package/annotations/([\w-]+)/(annotations)\.json$",
    f"npm:cldr-annotations-derived-full@{VERSION}": r"package/annotationsDerived/([\w-]+)/(annotations)\.json$",
}
LOCALES = {
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "ru",
    "pl",
    "sv",
    "tr",
    "zh",
    "ja",
    "ko",
    "ar",
    "cs",
    "da",
    "fi",
    "hu",
    "ro",
    "uk",
}


def pairs(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Text, English text, language and file."""
    for package, pattern in PACKAGES.items():
        pages: dict[tuple[str, str], dict[str, str]] = {}
        for path, content in members(fetch(package, cache), pattern):
            locale, page = path.split("/")[-2], path.rsplit("/", 1)[-1]
            if locale in LOCALES | {"en"}:
                pages[locale, page] = dict(names(json.loads(content)))
        for (locale, page), found in pages.items():
            english = pages["en", page]
            for key in found.keys() & english.keys():
                yield found[key], english[key], language_of(locale) or "en", f"cldr/{page}"


def names(tree: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name by code; of an emoji its name and, as one text, its words."""
    if "main" in tree:
        yield from ((key.split(".", 3)[-1], value) for key, value in flat(tree))
        return
    annotations = next(value for value in tree.values() if "annotations" in value)["annotations"]
    for character, entry in annotations.items():
        yield from ((f"{character} name", name) for name in entry.get("tts", []))
        if len(entry.get("default", [])) > 1:
            yield f"{character} words", ", ".join(entry["default"])
