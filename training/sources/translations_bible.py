"""The Bible, verse by verse: Reina and Valera's of 1909 beside the World English Bible."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pysword.modules import SwordModules

from packages import fetch, members

LICENCE = "public domain"
ENGLISH = "deb:sword-text-web=426.0-1"
PACKAGES = {"es": "deb:sword-text-sparv=2.60-1"}


def pairs(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Text, English text, language and book of every verse, and of every three verses in a row."""
    english = verses(ENGLISH, cache)
    for language, package in PACKAGES.items():
        found = verses(package, cache)
        for (book, chapter, number), verse in found.items():
            keys = [(book, chapter, number + step) for step in range(3)]
            if keys[0] in english:
                yield verse, english[keys[0]], language, f"bible/{book}"
            if number % 3 == 1 and all(key in found and key in english for key in keys):
                yield (
                    " ".join(found[key] for key in keys),
                    " ".join(english[key] for key in keys),
                    language,
                    f"bible/{book}",
                )


def verses(package: str, cache: Path) -> dict[tuple[str, int, int], str]:
    """Verses by book, chapter and number of a module of the SWORD project."""
    with tempfile.TemporaryDirectory() as folder:
        for path, content in members(fetch(package, cache), r"usr/share/sword/"):
            file = Path(folder) / path.split("usr/share/sword/", 1)[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        modules = SwordModules(folder)
        bible = modules.get_bible_from_module(next(iter(modules.parse_modules())))
        found = {}
        for books in bible.get_structure().get_books().values():
            for book in books:
                for chapter, count in enumerate(book.chapter_lengths, 1):
                    for number in range(1, count + 1):
                        text = bible.get(books=[book.name], chapters=[chapter], verses=[number], join="")
                        if text.strip():
                            found[book.name, chapter, number] = text
        return found
