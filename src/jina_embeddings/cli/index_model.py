"""Which model works on an index."""

from __future__ import annotations

from ..apps.index.store import Store
from ..checkpoint.resolve import DEFAULT_MODEL
from .model import full_name


def model_of(address: str, given: str | None) -> str:
    """The model that was given, else the one that made the index, else the default."""
    if given is not None:
        return full_name(given)
    return Store.open(address).fingerprint.model if Store.exists(address) else DEFAULT_MODEL
