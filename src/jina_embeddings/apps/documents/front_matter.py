"""Reads front matter: the fields at the start of a Markdown file, in YAML between `---` or in TOML between `+++`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

from ...errors import DependencyError

_MAX_CHARACTERS = 65536
_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?)^(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Matter:
    """text: the file's, with spaces in place of the front matter, so that offsets and line numbers stay the same."""

    text: str
    fields: dict[str, Any] = field(default_factory=dict)


def read_front_matter(text: str) -> Matter:
    """Separates the front matter from a text, which is returned as it is if no fields follow its `---`.

    Raises DependencyError without PyYAML.
    """
    found = _MATTER.match(text, 0, _MAX_CHARACTERS)
    if found is None:
        return Matter(text)
    fields = _yaml(found[2]) if found[1] == "---" else _toml(found[2])
    if not isinstance(fields, dict):
        return Matter(text)
    blank = re.sub(r"[^\n]", " ", found[0])
    return Matter(blank + text[len(blank) :], {str(name): value for name, value in fields.items()})


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise DependencyError("front matter needs PyYAML: pip install 'jina-embeddings-vllm[apps]'") from None
    try:
        # This loader leaves every scalar a string: dates and numbers as they are written, and `no` as "no".
        return yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None
