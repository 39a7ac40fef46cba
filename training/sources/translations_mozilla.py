"""Firefox's interface: Fluent and properties files of its language packs, English ones of the browser itself."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from fluent.syntax import FluentParser, ast

from packages import fetch, members
from translations_languages import language_of

VERSION = "153.7.0esr-1~deb12u1"
LICENCE = "MPL-2.0"
ENGLISH = f"deb:firefox-esr={VERSION}"
LANGUAGES = (
    "de",
    "fr",
    "es-es",
    "it",
    "pt-pt",
    "pt-br",
    "nl",
    "ru",
    "pl",
    "sv-se",
    "tr",
    "zh-cn",
    "zh-tw",
    "ja",
    "ko",
    "ar",
)
FILES = re.compile(r"\.(ftl|properties)$")
SKIPPED = re.compile(r"accesskey|commandkey|\.key$|-shortcut|\.style$|\.width$|nsserrors|regionNames|languageNames")
PROPERTY = re.compile(r"^\s*([\w.\-]+)\s*[=:]\s*(.+)$", re.MULTILINE)


def package(language: str) -> str:
    return f"deb:firefox-esr-l10n-{language}={VERSION}"


def pairs(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Text, English text, language and file."""
    english = dict(messages(fetch(ENGLISH, cache), r"omni\.ja$", "en-US"))
    for name in LANGUAGES:
        for key, content in messages(fetch(package(name), cache), r"langpack-.*\.xpi$", name):
            if key in english:
                yield content, english[key], language_of(name) or "", f"firefox/{key[0]}"


def messages(package_file: Path, archives: str, language: str) -> Iterator[tuple[tuple[str, str], str]]:
    """File and key, and the text, of every message in the archives of a package."""
    for _, content in members(package_file, archives):
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            for path in opened.namelist():
                if FILES.search(path) and f"/{language}/" in path.lower().replace("en-us", "en-US"):
                    page = re.sub(
                        rf"^(?:browser/)?.*?/{language}/(?:locale/{language}/)?", "", path, flags=re.IGNORECASE
                    )
                    text = opened.read(path).decode("utf-8", "replace")
                    found = fluent(text) if path.endswith(".ftl") else properties(text)
                    yield from (((page, key), value) for key, value in found if not SKIPPED.search(f"{page}.{key}"))


def properties(text: str) -> Iterator[tuple[str, str]]:
    for key, value in PROPERTY.findall(text):
        yield key, re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), value)


def fluent(text: str) -> Iterator[tuple[str, str]]:
    """Every message and attribute, with the default variant of each choice and without its variables."""
    for entry in FluentParser(with_spans=False).parse(text).body:
        if isinstance(entry, ast.Message):
            if entry.value:
                yield entry.id.name, _pattern(entry.value)
            for attribute in entry.attributes:
                yield f"{entry.id.name}.{attribute.id.name}", _pattern(attribute.value)


def _pattern(pattern: ast.Pattern) -> str:
    parts = []
    for element in pattern.elements:
        if isinstance(element, ast.TextElement):
            parts.append(element.value)
        elif isinstance(element.expression, ast.SelectExpression):
            parts.append(next(_pattern(v.value) for v in element.expression.variants if v.default))
        elif isinstance(element.expression, ast.TermReference):
            parts.append("Firefox" if "brand" in element.expression.id.name else "")
    return "".join(parts)
