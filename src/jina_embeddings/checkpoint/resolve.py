"""From the name of a model (a folder, a hub id, a bundled model) to a folder on disk."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from ..errors import CheckpointNotFoundError, DependencyError, did_you_mean
from ..types import Task

DEFAULT_MODEL = "jinaai/jina-embeddings-v4"

# The task that was merged into each published merged checkpoint, whose files don't say it.
MERGED_REPOSITORIES: dict[str, Task] = {
    "jinaai/jina-embeddings-v4-vllm-retrieval": "retrieval",
    "jinaai/jina-embeddings-v4-vllm-text-matching": "text-matching",
    "jinaai/jina-embeddings-v4-vllm-code": "code",
}

# Models that come with the package, with their folders under `models/`.
BUNDLED: dict[str, str] = {"pocket": "pocket"}

# Files that are downloaded: weights, their index, adapters, tokenizer and configuration, but no code.
_DOWNLOADED_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "adapters/*.json", "adapters/*.safetensors"]


def resolve(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of a checkpoint: a local one, a bundled one, or a snapshot of a hub repository.

    A hub id is downloaded once into huggingface_hub's cache; `HF_HUB_OFFLINE`, `HF_HOME` and `HF_TOKEN` work as always.

    Raises:
        CheckpointNotFoundError: there is no such folder, repository or revision; or it isn't in the cache and the
            network can't be used or isn't allowed to be.
    """
    name = os.fspath(model) if isinstance(model, str | os.PathLike) else model
    if not isinstance(name, str):
        raise CheckpointNotFoundError(f"a model is a str or a path, not {type(name).__name__}")
    if not name:
        raise CheckpointNotFoundError(
            f"the name of the model is empty: give a folder, or a hub id like {DEFAULT_MODEL!r}"
        )
    if name in BUNDLED:
        return Path(str(files("jina_embeddings") / "models" / BUNDLED[name]))
    try:
        folder = Path(name).expanduser()
    except RuntimeError as error:
        raise CheckpointNotFoundError(f"no folder {name!r}: {error}") from error
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        raise CheckpointNotFoundError(f"{name!r} is a file: give the folder that holds config.json")
    is_path = not isinstance(model, str) or folder.is_absolute() or name.startswith((".", "~"))
    if is_path or name.count("/") > 1:
        raise CheckpointNotFoundError(f"no folder {name!r}: check the path, or give a hub id such as {DEFAULT_MODEL!r}")
    if "/" not in name and (hint := did_you_mean(name, [*BUNDLED, *_folders_here()])):
        raise CheckpointNotFoundError(f"no folder and no bundled model {name!r}{hint}")
    return _snapshot(name, revision, cache_dir, local_files_only)


def _snapshot(
    name: str, revision: str | None, cache_dir: str | os.PathLike[str] | None, local_files_only: bool
) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.constants import HF_HUB_OFFLINE
        from huggingface_hub.errors import (
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise DependencyError("hub ids need huggingface_hub: pip install huggingface_hub") from error
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                cache_dir=None if cache_dir is None else Path(cache_dir),
                local_files_only=local_files_only,
                allow_patterns=_DOWNLOADED_FILES,
            )
        )
    except HFValidationError as error:
        raise CheckpointNotFoundError(f"{name!r} is neither a folder nor a hub id: {error}") from error
    except RevisionNotFoundError as error:
        raise CheckpointNotFoundError(f"{name} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise CheckpointNotFoundError(
            f"no repository {name!r} on the hub (if it is private, set HF_TOKEN); a local checkpoint needs its folder"
            f"{_published_like(name)}"
        ) from error
    except LocalEntryNotFoundError as error:
        settings = {"local_files_only": local_files_only, "HF_HUB_OFFLINE": HF_HUB_OFFLINE}
        forbidding = " and ".join(setting for setting, is_set in settings.items() if is_set)
        reason = "the hub can't be reached: check the network, and HTTPS_PROXY where there is a proxy"
        if forbidding:
            reason = f"may not be fetched: leave {forbidding} out once"
        raise CheckpointNotFoundError(
            f"{name} is not in the local cache, and {reason}, or give the folder of a copy{_published_like(name)}"
        ) from error
    except OSError as error:
        raise CheckpointNotFoundError(f"{name} could not be fetched: {error}") from error


def _published_like(name: str) -> str:
    published = [DEFAULT_MODEL, *MERGED_REPOSITORIES]
    return "" if name in published else did_you_mean(name, published)


def _folders_here() -> list[str]:
    return [entry.name for entry in os.scandir() if entry.is_dir() and (Path(entry) / "config.json").is_file()]
