"""What an index keeps of a record beside its text or picture: fields to filter by, and a digest of the picture."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ...inputs.sources import SourcePolicy
from ...pipeline.readers import Reader
from ...pipeline.rows import Row, printable
from ..index.passage import is_url

_MAX_VALUE = 1000
"""Characters of a field that is stored; a longer one is a text, and nothing to filter by."""


def filterable(fields: Mapping[str, Any]) -> dict[str, str | tuple[str, ...]]:
    """Fields as metadata: numbers and truth values as JSON writes them, a list as several values.

    Left out are null, objects, lists of them, values of more than 1,000 characters, and names with `=`.
    """
    found: dict[str, str | tuple[str, ...]] = {}
    for name, value in fields.items():
        values = [_written(one) for one in value] if isinstance(value, list) else [_written(value)]
        if not name or "=" in name or not values or None in values:
            continue
        written = tuple(printable(one) for one in values if one is not None)
        found[printable(name)] = written[0] if len(written) == 1 else written
    return found


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    # A date of TOML is written as a string.
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MAX_VALUE else None


def pictures_digest(path: str, reader: Reader, policy: SourcePolicy) -> str:
    """Of all pictures that the records of a file name; empty where they name none."""
    digest = hashlib.blake2b(digest_size=16)
    empty = digest.digest()
    for item in reader.read([path]):
        if isinstance(item, Row) and item.kind == "image":
            of_picture = picture_digest(str(item.input["image"]), policy)
            digest.update(of_picture.encode("utf-8", "surrogatepass") + b"\n")
    return "" if digest.digest() == empty else digest.hexdigest()


def picture_digest(image: str, policy: SourcePolicy) -> str:
    """Of a picture's bytes; of its name where that is a URL, no file that can be read, or one that may not be read."""
    path = url2pathname(urlsplit(image).path) if image[:7].lower() == "file://" else image
    if not os.path.exists(path):
        path = re.sub(r"#page=\d+$", "", path)
    if not policy.paths or is_url(path):
        return image
    try:
        # A pipe or a device may never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return image
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except (OSError, ValueError):
        return image
