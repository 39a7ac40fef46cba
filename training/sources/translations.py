"""Texts in other languages with their English:  python training/sources/translations.py help bible ...

Writes build/raw/pairs-translation-<part>.parquet and a record of each part for DATA.md.
"""

from __future__ import annotations

import argparse
import collections
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import translations_bible
import translations_chromium
import translations_cldr
import translations_gettext
import translations_help
import translations_json
import translations_mozilla
import translations_words
from packages import CACHE
from tables import pair, write_pairs, write_record
from translations_clean import is_pair, plain
from translations_languages import MORE

Found = Iterable[tuple[str, str, str, str]]


@dataclass(frozen=True)
class Part:
    """Where pairs come from: a function of the cache, its packages with their licences, what they are.

    `accelerator` is the character that marks a menu's letter; `most` is how many pairs of a language are kept, longest first.
    """

    pairs: Callable[[Path], Found]
    packages: dict[str, str]
    what: str
    accelerator: str = ""
    most: int = 40_000


PARTS = {
    "help": Part(
        translations_help.pairs,
        {
            translations_help.package(name): translations_help.LICENCE
            for name in ("en-us", *translations_help.LANGUAGES)
        },
        "paragraphs of LibreOffice's help in 13 languages",
    ),
    "bible": Part(
        translations_bible.pairs,
        dict.fromkeys((translations_bible.ENGLISH, *translations_bible.PACKAGES.values()), translations_bible.LICENCE),
        "verses of the Bible, one and three in a row",
    ),
    "catalogues": Part(
        translations_json.pairs,
        {catalogue.package: catalogue.licence for catalogue in translations_json.CATALOGUES},
        "interfaces of programs and web sites",
    ),
    "typescript": Part(
        translations_json.typescript,
        dict([translations_json.TYPESCRIPT]),
        "messages of TypeScript's compiler",
        most=1_200,
    ),
    "cldr": Part(
        translations_cldr.pairs,
        dict.fromkeys(translations_cldr.PACKAGES, translations_cldr.LICENCE),
        "names of languages, places and emoji",
        most=8_000,
    ),
    "gettext": Part(
        translations_gettext.pairs, translations_gettext.PACKAGES, "messages of PostgreSQL and web applications", "&"
    ),
    "office": Part(translations_gettext.office, translations_gettext.OFFICE, "LibreOffice's interface", "~"),
    "mozilla": Part(
        translations_mozilla.pairs,
        dict.fromkeys(
            (translations_mozilla.ENGLISH, *map(translations_mozilla.package, translations_mozilla.LANGUAGES)),
            translations_mozilla.LICENCE,
        ),
        "Firefox's interface",
        "&",
    ),
    "chromium": Part(
        translations_chromium.pairs,
        {translations_chromium.PACKAGE: translations_chromium.LICENCE},
        "Chromium's interface",
        "&",
    ),
    "words": Part(
        translations_words.vocabulary,
        {"pip:simplemma==2.0.0": "MIT"},
        "636 frequent words, written for this project, and their forms",
    ),
    "woven": Part(translations_words.woven, translations_words.PACKAGES, "English sentences with most words replaced"),
}


def rows(name: str, part: Part, cache: Path) -> Iterator[dict[str, str]]:
    """Clean, distinct pairs of a part, at most so many a language."""
    kept: dict[str, dict[tuple[str, str], str]] = collections.defaultdict(dict)
    for content, english, language, group in part.pairs(cache):
        query, passage = plain(content, part.accelerator), plain(english, part.accelerator)
        if is_pair(query, passage, language):
            kept[language].setdefault((query, passage), group)
    for language, found in kept.items():
        most = part.most // 10 if language in MORE else part.most
        longest = sorted(found, key=lambda both: -len(both[1]))[:most]
        for query, passage in longest:
            yield pair(query, passage, "translation", f"translation-{name}", found[query, passage], language)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    for name in options.parts:
        part = PARTS[name]
        found = sorted(rows(name, part, options.cache), key=lambda row: (row["passage"], row["language"], row["query"]))
        write_pairs(f"pairs-translation-{name}", found)
        write_record(f"translations {name}", f"translation-{name}", part.packages, part.what, len(found))
        counts = collections.Counter(row["language"] for row in found)
        print(
            f"{name}: {len(found):,} pairs; " + " ".join(f"{k} {v:,}" for k, v in counts.most_common()), file=sys.stderr
        )


if __name__ == "__main__":
    main()
