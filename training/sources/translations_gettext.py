"""Catalogues of gettext, whose keys are the English texts: `.mo` files, and `.po` files where there are no others."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
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
    "pip:pgadmin4==9.18": "PostgreSQL",
    "pip:indico==3.3.14": "MIT",
    "pip:netbox==4.7.3": "Apache-2.0",
    "pip:trac==1.6": "BSD-3-Clause",
    "pip:nova==34.0.0": "Apache-2.0",
    "pip:keystone==30.0.0": "Apache-2.0",
    "pip:neutron==29.0.0": "Apache-2.0",
    "pip:openstack-heat==27.0.1": "Apache-2.0",
    "pip:django-oscar==4.2.1": "BSD-3-Clause",
    "pip:django-cms==5.1.3": "BSD-3-Clause",
    "pip:mezzanine==6.1.1": "BSD-2-Clause",
    "pip:flask-appbuilder==5.3.0": "BSD-3-Clause",
    **{
        f"pip:jupyterlab-language-pack-{language}==4.5.post3": "BSD-3-Clause"
        for language in (
            *("ar-sa", "de-de", "es-es", "fr-fr", "it-it", "ja-jp", "ko-kr", "nl-nl", "pl-pl", "pt-br", "ru-ru"),
            *("tr-tr", "uk-ua", "zh-cn", "zh-tw"),
        )
    },
}
OFFICE = {
    f"deb:libreoffice-l10n-{language}=4:7.4.7-1+deb12u14": "MPL-2.0"
    for language in (
        *(
            "ar",
            "de",
            "es",
            "fr",
            "it",
            "ja",
            "ko",
            "nl",
            "pl",
            "pt",
            "pt-br",
            "ru",
            "sv",
            "tr",
            "uk",
            "zh-cn",
            "zh-tw",
        ),
    )
}
FILES = re.compile(
    r"(?:locale|translations|resource)/(?P<language>[A-Za-z_@-]+)/LC_MESSAGES/(?P<domain>[\w.-]+)\.(?:mo|po)$"
)


def pairs(cache: Path, packages: Iterable[str] = tuple(PACKAGES)) -> Iterator[tuple[str, str, str, str]]:
    """Text, English text, language and catalogue."""
    for package in packages:
        files = {path: content for path, content in members(fetch(package, cache), FILES.pattern)}
        name = re.split("[=]", package.split(":", 1)[1])[0]
        for path, content in files.items():
            found = FILES.search(path)
            language = language_of(found["language"]) if found else None
            if found and language and not (path.endswith(".po") and path[:-2] + "mo" in files):
                for english, text in entries(path, content):
                    yield text, english, language, f"{name}/{found['domain']}"


def office(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """The same of LibreOffice's interface."""
    return pairs(cache, OFFICE)


def entries(path: str, content: bytes) -> Iterator[tuple[str, str]]:
    """English and translation of every entry that is translated and not marked as doubtful."""
    with tempfile.NamedTemporaryFile(suffix=path[-3:]) as file:
        file.write(content)
        file.flush()
        catalogue = polib.mofile(file.name) if path.endswith(".mo") else polib.pofile(file.name)
    for entry in catalogue.translated_entries():
        if "fuzzy" not in entry.flags:
            yield entry.msgid_plural or entry.msgid, entry.msgstr or entry.msgstr_plural[max(entry.msgstr_plural)]
