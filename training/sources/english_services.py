"""What the operations and fields of web services are for: descriptions in the clients of Amazon's and Google's clouds."""

from __future__ import annotations

import gzip
import html
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packages import fetch, members
from prose import is_prose, squeeze

AMAZON = "pip:botocore==1.44.8"
GOOGLE = "pip:google-api-python-client==2.202.0"
LICENCES = {AMAZON: "Apache-2.0", GOOGLE: "Apache-2.0"}
TAG = re.compile(r"<[^>]+>")
MARK = re.compile(r"\b(Required|Optional|Output only|Immutable|Deprecated|Input only)\. ")
SHARE = 3  # one field in so many; operations and objects are all read


def amazon(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, operation or object, and its description."""
    for name, content in members(fetch(AMAZON, cache), r"botocore/data/[\w-]+/[\d-]+/service-2\.json\.gz$"):
        service = json.loads(gzip.decompress(content))
        title = service["metadata"]["serviceFullName"]
        group = f"amazon/{name.split('/')[2]}"
        yield group, title, _plain(service.get("documentation"))
        for operation, entry in service["operations"].items():
            yield group, f"{title}: {_spaced(operation)}", _plain(entry.get("documentation"))
        for shape, entry in service["shapes"].items():
            yield group, f"{title}: {_spaced(shape)}", _plain(entry.get("documentation"))
            for member, value in entry.get("members", {}).items():
                yield from _field(group, f"{_spaced(shape)}: {_spaced(member)}", value.get("documentation"))


def google(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, method or object, and its description."""
    for _, content in members(fetch(GOOGLE, cache), r"discovery_cache/documents/[\w.-]+\.json$"):
        service = json.loads(content)
        if "name" not in service:  # the list of them
            continue
        title, group = service.get("title", service["name"]), f"google/{service['name']}"
        yield group, title, _plain(service.get("description"))
        for name, entry in service.get("schemas", {}).items():
            yield group, f"{title}: {_spaced(name)}", _plain(entry.get("description"))
            for field, value in entry.get("properties", {}).items():
                yield from _field(group, f"{_spaced(name)}: {_spaced(field)}", value.get("description"))
        for name, entry in _methods(service):
            yield group, f"{title}: {name}", _plain(entry.get("description"))


def _methods(part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in part.get("methods", {}).values():
        yield _spaced(entry["id"].split(".", 1)[-1].replace(".", " ")), entry
    for below in part.get("resources", {}).values():
        yield from _methods(below)


def _field(group: str, name: str, description: str | None) -> Iterator[tuple[str, str, str]]:
    text = _plain(description)
    if text and zlib.crc32(text.encode()) % SHARE == 0:
        yield group, name, text


def _plain(description: str | None) -> str:
    """Without markup; empty unless it is prose of eight words or more."""
    text = MARK.sub("", squeeze(html.unescape(TAG.sub(" ", description or "")).replace("`", "")))
    text = re.sub(r"\s+([.,;:)])", r"\1", text)[:1200]
    return text if text.count(" ") >= 7 and is_prose(text) else ""


def _spaced(name: str) -> str:
    """`CreateFHIRDatastore` -> `create FHIR datastore`."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z]|\b|_)|[A-Z]?[a-z]+|\d+", name)
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
