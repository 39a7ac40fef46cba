"""Catalogues of gettext, whose keys are the English texts: `.mo` and `.po` files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polib

from packages import fetch, members
from translations_languages import language_of

POSTGRESQL = "15.20-0+deb12u1"
PACKAGES = {
    f"deb:postgresql-15={POSTGRESQL}": "PostgreSQL",
    f"deb:postgresql-client-15={POSTGRESQL}": "PostgreSQL",
    "pip:django==5.2.19": "BSD-3-Clause",
    "pip:wagtail==8.0.1": "BSD-3-Clause",
    "pip:django-allauth==65.21.1": "MIT",
    "pip:apache-superset==6.1.0": "Apache-2.0",
    "pip:horizon==27.0.0": "Apache-2.0",
}
FILES = re.compile(r"(?:locale|translations)/(?P<language>[A-Za-z_@-]+)/LC_MESSAGES/(?P<domain>[\w.-]+)\.(?:mo|po)$")


def pairs(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Text, English text, language and catalogue; a `.mo` file only where there is no `.po` file of it."""
    for package in PACKAGES:
        files = {path: content for path, content in members(fetch(package, cache), FILES.pattern)}
        name = re.split("[=]", package.split(":", 1)[1])[0]
        for path, content in files.items():
            found = FILES.search(path)
            language = language_of(found["language"]) if found else None
            if found and language and not (path.endswith(".mo") and path[:-2] + "po" in files):
                for english, text in entries(path, content):
                    yield text, english, language, f"{name}/{found['domain']}"


def entries(path: str, content: bytes) -> Iterator[tuple[str, str]]:
    """English and translation of every entry that is translated and not marked as doubtful."""
    with tempfile.NamedTemporaryFile(suffix=path[-3:]) as file:
        file.write(content)
        file.flush()
        catalogue = polib.mofile(file.name) if path.endswith(".mo") else polib.pofile(file.name)
    for entry in catalogue.translated_entries():
        if "fuzzy" not in entry.flags:
            yield entry.msgid_plural or entry.msgid, entry.msgstr or entry.msgstr_plural[max(entry.msgstr_plural)]
