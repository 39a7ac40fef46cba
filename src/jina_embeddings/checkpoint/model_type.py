"""A config.json that says its model_type, for libraries that choose their classes by it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from ..errors import CheckpointNotFoundError
from .adapters import default_cache
from .config import MODEL_TYPE, read_json


def folder_with_model_type(folder: Path, cache: Path | None = None) -> Path:
    """A folder with `folder/config.json` as it is, and `model_type` in it; `folder` itself where it is there already.

    Raises:
        CheckpointNotFoundError: the cache folder can't be written.
    """
    raw = read_json(folder / "config.json")
    if raw.get("model_type") is not None:
        return folder
    content = json.dumps({**raw, "model_type": MODEL_TYPE}, indent=2, sort_keys=True).encode()
    home = cache or default_cache().parent / "configs"
    target = home / hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        target.mkdir(parents=True, exist_ok=True)
        # Under its name only when it is whole, whoever else is writing it.
        number, name = tempfile.mkstemp(dir=target)
        with os.fdopen(number, "wb") as file:
            file.write(content)
        os.replace(name, target / "config.json")
    except OSError as error:
        raise CheckpointNotFoundError(
            f"the cache {home} can't be written ({error}): set JINA_EMBEDDINGS_CACHE to a folder that can"
        ) from error
    return target
