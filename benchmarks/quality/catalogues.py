"""Messages of git and of the GNU core utilities with their translations, from gettext catalogues of Debian packages."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator

import polib

from .archives import fetch, members

PACKAGES = ("deb:git", "deb:coreutils")
LANGUAGES = ("de", "fr", "es", "it", "pt", "nl", "ru", "pl", "sv", "tr", "zh", "ja", "ko", "ar")
OTHER_SPELLINGS = {"ja-hira", "de-at", "de-ch", "fr-ch"}
FILES = re.compile(
    r"(?:locale|translations|resource)/(?P<language>[A-Za-z_@-]+)/LC_MESSAGES/(?P<domain>[\w.-]+)\.(?:mo|po)$"
)
MIN_CHARACTERS, MAX_CHARACTERS = 20, 300


def catalogues() -> dict[str, dict[str, str]]:
    """English messages and their translations for each language; of variants, the one with the most messages."""
    best: dict[tuple[str, str], dict[str, str]] = {}
    for package in PACKAGES:
        for path, content in members(fetch(package), FILES.pattern):
            parts = FILES.search(path)
            language = language_of(parts["language"]) if parts else None
            if parts and language:
                found = different(list(entries(path, content)))
                if len(found) > len(best.get((package, language), {})):
                    best[package, language] = found
    merged: dict[str, dict[str, str]] = {}
    for (_, language), found in best.items():
        merged[language] = different([*merged.get(language, {}).items(), *found.items()])
    return merged


def different(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Pairs of sentences whose English and whose translation occur in no other pair."""
    tidy = [(" ".join(english.split()), " ".join(text.split())) for english, text in pairs]
    englishes, texts = (Counter(side) for side in zip(*tidy, strict=True)) if tidy else (Counter(), Counter())
    return {
        english: text
        for english, text in tidy
        if MIN_CHARACTERS <= len(english) <= MAX_CHARACTERS
        and englishes[english] == texts[text] == 1
        and english != text
    }


def entries(path: str, content: bytes) -> Iterator[tuple[str, str]]:
    """The English text and the translation of every entry that is translated and not marked fuzzy."""
    with tempfile.NamedTemporaryFile(suffix=path[-3:]) as file:
        file.write(content)
        file.flush()
        catalogue = polib.mofile(file.name) if path.endswith(".mo") else polib.pofile(file.name)
    for entry in catalogue.translated_entries():
        if "fuzzy" not in entry.flags:
            yield entry.msgid_plural or entry.msgid, entry.msgstr or entry.msgstr_plural[max(entry.msgstr_plural)]


def language_of(name: str) -> str | None:
    """`zh_Hans` or `pt-BR` -> `zh` or `pt`; None where the language isn't measured."""
    spelling = name.replace("_", "-").lower()
    base = spelling.split("-", 1)[0]
    return base if base in LANGUAGES and spelling not in OTHER_SPELLINGS else None
