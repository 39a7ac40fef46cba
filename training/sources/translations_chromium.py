"""Chromium's interface: resource packs, where a text has the same number in every language."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from packages import fetch, members
from translations_languages import language_of

PACKAGE = "deb:chromium-l10n=156.0.8078.79-1~deb12u1"
LICENCE = "BSD-3-Clause"
ENGLISH = "en-GB"
VERSION = 5


def pairs(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Text, English text, language and `chromium`."""
    packs = {
        path.rsplit("/", 1)[-1][:-4]: content
        for path, content in members(fetch(PACKAGE, cache), r"/locales/[\w-]+\.pak$")
    }
    english = texts(packs[ENGLISH])
    for name, content in packs.items():
        language = language_of(name) if "_" not in name else None
        if language:
            yield from (
                (text, english[key], language, "chromium") for key, text in texts(content).items() if key in english
            )


def texts(pack: bytes) -> dict[int, str]:
    """Texts by number. Layout: version, encoding, two counts, then (number, offset) entries with one more as the end."""
    version, _, count, _ = struct.unpack_from("<IB3xHH", pack)
    if version != VERSION:
        raise ValueError(f"a resource pack of version {version} instead of {VERSION}")
    entries = [struct.unpack_from("<HI", pack, 12 + 6 * number) for number in range(count + 1)]
    found = {}
    for (key, start), (_, end) in zip(entries, entries[1:], strict=False):
        content = pack[start:end]
        if 3 <= len(content) < 4000 and content[:2] != b"\x1f\x8b":
            found[key] = content.decode("utf-8", "ignore")
    return found
