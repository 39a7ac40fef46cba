"""Catalogues in JSON: one file a language and page, the same keys in each."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packages import fetch, members
from translations_languages import is_english, language_of


@dataclass(frozen=True)
class Catalogue:
    """`files` names the groups `language` and, where a language has several files, `page`; `keys` are those that are read."""

    package: str
    licence: str
    files: str
    keys: str = ""


CATALOGUES = (
    Catalogue(
        "pip:homeassistant==2024.3.3",
        "Apache-2.0",
        r"components/(?P<page>\w+)/translations/(?P<language>[\w-]+)\.json$",
    ),
    Catalogue(
        "pip:home-assistant-frontend==20250109.2",
        "Apache-2.0",
        r"static/translations/(?P<page>(?:[\w-]+/)?)(?P<language>[a-zA-Z-]+?)-[0-9a-f]{32}\.json$",
    ),
    Catalogue("pip:kolibri==0.19.5", "MIT", r"kolibri/locale/(?P<language>\w+)/LC_MESSAGES/(?P<page>[\w.-]+)\.json$"),
    Catalogue(
        "pip:apache-airflow-core==3.3.2", "Apache-2.0", r"i18n/locales/(?P<language>[\w-]+)/(?P<page>\w+)\.json$"
    ),
    Catalogue(
        "npm:scratch-l10n@3.18.357",
        "BSD-3-Clause",
        r"package/(?P<page>(?:www|editor)/[^/]+)/(?P<language>[\w-]+)\.json$",
    ),
    Catalogue("npm:@node-red/nodes@5.0.7", "Apache-2.0", r"locales/(?P<language>[\w-]+)/(?P<page>\w+)\.json$"),
    Catalogue("npm:@node-red/editor-client@5.0.7", "Apache-2.0", r"locales/(?P<language>[\w-]+)/(?P<page>\w+)\.json$"),
    Catalogue(
        "npm:matrix-react-sdk@3.82.0",  # the last under this licence
        "Apache-2.0",
        r"package/src/i18n/strings/(?P<language>(?!en_US)[\w-]+)\.json$",
    ),
    Catalogue("npm:@instructure/quiz-translations@22.18.0", "MIT", r"package/lib/(?P<language>[\w-]+)\.json$"),
    Catalogue(
        "npm:@openstreetmap/id-tagging-schema@6.19.2",
        "ISC",
        r"dist/translations/(?P<language>[\w-]+?)\.json$",
        r"\.(name|label|description|title|placeholder)$|\.options\.",
    ),
)
LINE = re.compile(r'diag\(\d+, \d+ /\* \w+ \*/, "(\w+)", ("(?:[^"\\]|\\.)*")')
TYPESCRIPT = ("npm:typescript@5.9.3", "Apache-2.0")


def flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a tree with its dotted key."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from flat(below, f"{key}.{name}")
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from flat(below, f"{key}.{number}")
    elif isinstance(value, str):
        yield key, value


def pairs(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Text, English text, language and page of every catalogue."""
    for catalogue in CATALOGUES:
        name = re.sub(r"[@=]=?[\d.]+$", "", catalogue.package.split(":", 1)[1])
        for page, content, english, language in _of(catalogue, cache):
            yield content, english, language, f"{name}/{page}"


def _of(catalogue: Catalogue, cache: Path) -> Iterator[tuple[str, str, str, str]]:
    pages: dict[str, dict[str, dict[str, str]]] = collections.defaultdict(dict)
    for path, content in members(fetch(catalogue.package, cache), catalogue.files):
        found = re.search(catalogue.files, path)
        spelling = found["language"] if found else ""
        if found and (is_english(spelling) or language_of(spelling)):
            entries = json.loads(content)
            entries = entries[spelling] if list(entries) == [spelling] else entries
            kept = {key: value for key, value in flat(entries) if re.search(catalogue.keys, key)}
            pages[found.groupdict().get("page", "")]["en" if is_english(spelling) else spelling] = kept
    for page, languages in pages.items():
        english = languages.pop("en", {})
        for spelling, entries in languages.items():
            for key in entries.keys() & english.keys():
                yield page, entries[key], english[key], language_of(spelling) or ""


def typescript(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """The compiler's messages; its English ones are in its code."""
    archive = fetch(TYPESCRIPT[0], cache)
    code = next(content for _, content in members(archive, r"package/lib/typescript\.js$")).decode()
    english = {key: json.loads(literal) for key, literal in LINE.findall(code)}
    for path, content in members(archive, r"diagnosticMessages\.generated\.json$"):
        language = language_of(path.split("/")[-2])
        for key, value in json.loads(content).items():
            if language and key in english:
                yield (
                    re.sub(r"'?\{\d\}'?", " ", value),
                    re.sub(r"'?\{\d\}'?", " ", english[key]),
                    language,
                    "typescript",
                )
