"""Which model works on an index."""

from __future__ import annotations

import os

from ..apps.index.store import Store
from ..checkpoint.resolve import DEFAULT_MODEL


def model_of(address: str, given: str | None) -> str:
    """The model that was given, else the one that made the index, else the default."""
    if given is not None:
        # What is written into the index has to hold in every folder.
        return os.path.abspath(given) if os.path.isdir(given) else given
    return Store.open(address).fingerprint.model if Store.exists(address) else DEFAULT_MODEL
