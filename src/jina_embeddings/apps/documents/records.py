"""What an index stores of a record besides its text or image: the fields to filter by, and a digest of the image."""

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

_MAX_VALUE_CHARS = 1000
"""A field with a longer value is a text, not something to filter by, and isn't stored."""


def filterable(fields: Mapping[str, Any]) -> dict[str, str | tuple[str, ...]]:
    """Converts fields to metadata, which has strings for values: numbers and booleans as in JSON, a list as a tuple.

    Nulls, objects, lists that contain them, values of more than 1,000 characters and names with `=` are left out.
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
    # TOML has dates, which JSON can't write: `default` makes them strings.
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MAX_VALUE_CHARS else None


def images_digest(path: str, reader: Reader, policy: SourcePolicy) -> str:
    """Returns one digest of all images that the records of a file refer to; "" if there are none."""
    digest = hashlib.blake2b(digest_size=16)
    empty = digest.digest()
    for item in reader.read([path]):
        if isinstance(item, Row) and item.kind == "image":
            of_image = image_digest(str(item.input["image"]), policy)
            digest.update(of_image.encode("utf-8", "surrogatepass") + b"\n")
    return "" if digest.digest() == empty else digest.hexdigest()


def image_digest(image: str, policy: SourcePolicy) -> str:
    """Returns the digest of a file's bytes, or `image` itself for a URL or a file that can't or may not be read."""
    path = url2pathname(urlsplit(image).path) if image[:7].lower() == "file://" else image
    if not os.path.exists(path):
        path = re.sub(r"#page=\d+$", "", path)
    if not policy.paths or is_url(path):
        return image
    try:
        # Reading a pipe or a device may never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return image
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except (OSError, ValueError):
        return image
