"""English prose:  python training/sources/english.py wordnet documentation ...

Writes build/raw/texts-english-<part>.parquet, build/pairs-english-<part>.parquet and a record a source for DATA.md.
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import english_dictionaries
import english_documentation
import english_medicine
import english_places
import english_reading
import english_services
import english_wordnet
import english_world
from packages import CACHE
from prose import cloze, is_prose, paragraphs, sentences
from tables import pair, text, write_heldout, write_pairs, write_record, write_texts

Rows = tuple[list[dict[str, str]], list[dict[str, str]]]
MOST_OF_SERVICES = 60_000
GENERAL = {
    "description",
    "overview",
    "introduction",
    "notes",
    "note",
    "example",
    "examples",
    "syntax",
    "see also",
    "usage",
}


def unique(rows: list[dict[str, str]], columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The first of the rows that agree in these columns, whatever their case."""
    kept = {}
    for row in rows:
        kept.setdefault(tuple(row[column].lower() for column in columns), row)
    return list(kept.values())


def section_rows(sections: Iterable[tuple[str, str, str, list[str]]], source: str) -> Rows:
    """Texts and pairs of (group, page, heading, blocks): the heading asks for the text below it.

    A heading that says nothing by itself gets the page's title in front. One sentence in three paragraphs asks for the rest.
    """
    texts, pairs = [], []
    for group, page, heading, blocks in sections:
        query = heading if heading.count(" ") > 1 and heading.lower() not in GENERAL else f"{page}: {heading}"
        query = page if page == heading else query
        for number, paragraph in enumerate(paragraphs(blocks)):
            if heading and number < 2 and 3 <= len(query) <= 200 and paragraph.count(" ") >= 8:
                pairs.append(pair(query, paragraph, "passage", source, group))
            texts.append(text(paragraph, source, group))
            parts = sentences(paragraph)
            if len(parts) > 1:
                texts.extend(text(part, source, group) for part in parts if is_prose(part) and len(part) < 600)
            pick = zlib.crc32(paragraph.encode())
            if pick % 3 == 0 and (cut := cloze(paragraph, pick // 3)):
                pairs.append(pair(*cut, "passage", f"{source}-cloze", group))
    return unique(texts, ("text",)), unique(pairs, ("query", "passage"))


def wordnet(cache: Path) -> Rows:
    found = english_wordnet.synsets(cache)
    source = "english-wordnet"
    pairs = [
        pair(query, passage, "passage", f"{source}-{form}", group)
        for query, passage, form, group in english_wordnet.pairs(found, random.Random(0))
    ]
    texts = [text(content, source, group) for content, group in english_wordnet.texts(found)]
    packages = {english_wordnet.PACKAGE: english_wordnet.LICENCE}
    write_record("english wordnet", source, packages, "glosses, examples, questions", len(pairs) + len(texts))
    return unique(texts, ("text",)), unique(pairs, ("query", "passage"))


def manuals(step: str, listed: dict[str, tuple[str, str, str]], cache: Path) -> Rows:
    texts, pairs = [], []
    for name, (package, licence, _) in listed.items():
        source = f"english-{name}"
        found = section_rows(english_documentation.sections(name, cache), source)
        texts.extend(found[0])
        pairs.extend(found[1])
        write_record(step, source, {package: licence}, "documentation", len(found[0]) + len(found[1]))
        print(f"  {name}: {len(found[0]):,} texts, {len(found[1]):,} pairs", file=sys.stderr)
    return unique(texts, ("text",)), unique(pairs, ("query", "passage"))


def documentation(cache: Path) -> Rows:
    """The manuals, and the held-out one in a file of its own."""
    held_out = section_rows(english_documentation.sections(english_documentation.HELD_OUT, cache), "heldout-docs")[1]
    held_out = [row for row in held_out if not row["source"].endswith("-cloze") and row["passage"].count(" ") >= 30]
    write_heldout("docs", list({row["query"]: row for row in unique(held_out, ("passage",))}.values())[:400])
    trained = {
        name: row for name, row in english_documentation.PACKAGES.items() if name != english_documentation.HELD_OUT
    }
    return manuals("english documentation", trained, cache)


def science(cache: Path) -> Rows:
    return manuals("english science", english_documentation.SCIENCE, cache)


def systems(cache: Path) -> Rows:
    return manuals("english systems", english_documentation.SYSTEMS, cache)


def services(cache: Path) -> Rows:
    texts, pairs = [], []
    for name, package, read in (
        ("amazon", english_services.AMAZON, english_services.amazon),
        ("google", english_services.GOOGLE, english_services.google),
    ):
        found = unique(terms(read(cache), f"english-{name}")[1], ("passage",))
        kept = random.Random(0).sample(found, min(len(found), MOST_OF_SERVICES))
        pairs.extend(kept)
        what = "operations and fields with their descriptions"
        record("english services", f"english-{name}", package, english_services.LICENCES, what, len(kept))
    return texts, pairs


def reading(cache: Path) -> Rows:
    step, licences = "english reading", english_reading.LICENCES
    novels = section_rows(english_reading.novels(cache), "english-novels")
    sayings = [text(saying, "english-sayings", group) for group, saying in english_reading.sayings(cache)]
    tasks = terms(english_reading.tasks(cache), "english-tasks")
    for name, package, what, count in (
        ("novels", english_reading.NOVELS, "prose", len(novels[0]) + len(novels[1])),
        ("sayings", english_reading.SAYINGS, "sayings", len(sayings)),
        ("tasks", english_reading.TASKS, "questions, scenes and answers", len(tasks[0]) + len(tasks[1])),
    ):
        record(step, f"english-{name}", package, licences, what, count)
    return unique(novels[0] + sayings + tasks[0], ("text",)), unique(novels[1] + tasks[1], ("query", "passage"))


def world(cache: Path) -> Rows:
    step, licences = "english world", english_world.LICENCES
    texts, pairs = [], []
    for name, package, read in (
        ("factbook", english_world.FACTBOOK, english_world.factbook),
        ("addresses", english_world.DATASETS, english_world.addresses),
        ("elements", english_world.ELEMENTS, english_world.elements),
    ):
        found = section_rows(read(cache), f"english-{name}")
        texts.extend(found[0])
        pairs.extend(found[1])
        record(step, f"english-{name}", package, licences, "prose", len(found[0]) + len(found[1]))
    trivia = [
        pair(question, answer, "passage", "english-trivia", group)
        for group, question, answer in english_world.questions(cache)
    ]
    facts = [text(fact, "english-facts", group) for group, fact in english_world.facts(cache)]
    record(step, "english-trivia", english_world.TRIVIA, licences, "questions and answers", len(trivia))
    record(step, "english-facts", english_world.FACTS, licences, "sentences", len(facts))
    return unique(texts + facts, ("text",)), unique(pairs + trivia, ("query", "passage"))


def terms(read: Iterable[tuple[str, str, str]], source: str) -> Rows:
    """Texts and pairs of (group, term or question, passage)."""
    texts, pairs = [], []
    for group, query, passage in read:
        if len(passage) >= 12:
            pairs.append(pair(query[:500], passage, "passage", source, group))
        if len(query) > 200 or len(passage) < 12:
            texts.append(text(query[:1600], source, group))
        parts = sentences(passage)
        if len(parts) > 1:
            texts.extend(text(part, source, group) for part in parts if is_prose(part))
    return texts, pairs


def places(cache: Path) -> Rows:
    texts, pairs = terms(english_places.countries(cache), "english-countries")
    what = "questions and passages"
    record("english places", "english-countries", english_world.FACTBOOK, english_world.LICENCES, what, len(pairs))
    return unique(texts, ("text",)), unique(pairs, ("query", "passage"))


def dictionaries(cache: Path) -> Rows:
    texts, pairs = [], []
    for package, read in (
        (english_dictionaries.JARGON, english_dictionaries.jargon),
        (english_dictionaries.DEVIL, english_dictionaries.devil),
    ):
        entries = list(read(cache))
        source = f"english-{entries[0][0]}"
        found = section_rows(((group, term, term, blocks) for group, term, blocks in entries), source)
        texts.extend(found[0])
        pairs.extend(found[1])
        what = "terms and their text"
        record("english dictionaries", source, package, english_dictionaries.LICENCES, what, len(entries))
    return unique(texts, ("text",)), unique(pairs, ("query", "passage"))


def medicine(cache: Path) -> Rows:
    texts, pairs = [], []
    for name, package, read in (
        ("ontologies", english_medicine.ONTOLOGIES, english_medicine.ontologies),
        ("diseases", english_medicine.DISEASES, english_medicine.diseases),
        ("health-codes", english_medicine.HEALTH_CODES, english_medicine.health_codes),
        ("examinations", english_medicine.EXAMINATIONS, english_medicine.examinations),
    ):
        found = terms(read(cache), f"english-{name}")
        texts.extend(found[0])
        pairs.extend(found[1])
        what = "terms or questions and their text"
        record("english medicine", f"english-{name}", package, english_medicine.LICENCES, what, len(found[1]))
    return unique(texts, ("text",)), unique(pairs, ("query", "passage"))


def record(step: str, source: str, package: str, licences: dict[str, str], what: str, count: int) -> None:
    write_record(step, source, {package: licences[package]}, what, count)


PARTS: dict[str, Callable[[Path], Rows]] = {
    "wordnet": wordnet,
    "documentation": documentation,
    "science": science,
    "systems": systems,
    "services": services,
    "reading": reading,
    "world": world,
    "places": places,
    "dictionaries": dictionaries,
    "medicine": medicine,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    for part in options.parts:
        texts, pairs = PARTS[part](options.cache)
        write_texts(f"texts-english-{part}", texts)
        write_pairs(f"pairs-english-{part}", pairs)
        print(f"{part}: {len(texts):,} texts, {len(pairs):,} pairs", file=sys.stderr)


if __name__ == "__main__":
    main()
