"""The languages that are kept, and how packages spell them."""

from __future__ import annotations

MAIN = ("de", "fr", "es", "it", "pt", "nl", "ru", "pl", "sv", "tr", "zh", "ja", "ko", "ar")
MORE = ("cs", "da", "fi", "hu", "ro", "uk")
SKIPPED = {"ja-hira", "de-at", "de-ch", "fr-ch"}
ENGLISH = ("en", "en-us", "en-en", "en-gb")


def language_of(name: str) -> str | None:
    """`zh_Hans` or `pt-BR` -> `zh` or `pt`; None where the language isn't kept."""
    spelling = name.replace("_", "-").lower()
    base = spelling.split("-", 1)[0]
    return base if base in MAIN + MORE and spelling not in SKIPPED else None


def is_english(name: str) -> bool:
    return name.replace("_", "-").lower() in ENGLISH
