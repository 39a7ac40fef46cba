"""English names and keywords of emoji, from the Unicode CLDR."""

from __future__ import annotations

import json
from pathlib import Path

from packages import fetch, members

# The version before keywords were filled with slang ("g2g", "cya").
PACKAGES = ("npm:cldr-annotations-full@41.0.0", "npm:cldr-annotations-derived-full@41.0.0")
SKIN_TONES = range(0x1F3FB, 0x1F400)
VARIATION = "\ufe0f"


def emoji_names(cache: Path) -> dict[str, tuple[str, list[str]]]:
    """Name and keywords by emoji without variation selectors; those that differ by skin or hair alone are left out."""
    names = {}
    for package in PACKAGES:
        for _, content in members(fetch(package, cache), r"/en/annotations\.json$"):
            (root,) = json.loads(content).values()
            for emoji, entry in root["annotations"].items():
                if not any(ord(character) in SKIN_TONES for character in emoji) and "tts" in entry:
                    names[emoji.replace(VARIATION, "")] = (entry["tts"][0], entry.get("default", []))
    return names


def spoken(name: str) -> str:
    """`flag: Kenya` -> `Kenya flag`."""
    kind, colon, of = name.partition(": ")
    return f"{of} {kind}" if colon else name
