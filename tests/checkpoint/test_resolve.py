"""From the name of a model to a folder: local folders, hub ids and the hub's cache."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._paths import filter_repo_objects

from jina_embeddings import TASKS, JinaEmbeddings
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.checkpoint.resolve import MERGED_REPOSITORIES
from jina_embeddings.errors import CheckpointError, CheckpointNotFoundError, TaskUnavailableError

if TYPE_CHECKING:
    from conftest import CheckpointMaker


# Names that are no folder


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./no_folder", "../no_folder", "~/no_folder", "~no_such_user/x", "a/b/c", "a b/c?"]
)
def test_a_name_that_is_neither_a_folder_nor_a_hub_id_is_not_looked_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match=re.escape(name)):
        open_checkpoint(name)


def test_a_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"file.*folder that holds config\.json"):
        open_checkpoint(folder / "config.json")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path))):
        open_checkpoint(tmp_path)


def test_a_path_object_is_never_a_hub_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(CheckpointNotFoundError, match="models/mine"):
        open_checkpoint(Path("models/mine"))


# Hub ids


class Hub:
    """Replaces `snapshot_download`: returns one folder for every id, or raises."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.error: Exception | None = None
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **options: Any) -> str:
        self.calls.append((args, options))
        if self.error is not None:
            raise self.error
        return str(self.folder)


@pytest.fixture
def hub(checkpoint: CheckpointMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    hub = Hub(checkpoint())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    monkeypatch.chdir(tmp_path)
    return hub


def test_a_hub_download_gets_all_arguments(hub: Hub, tmp_path: Path) -> None:
    opened = open_checkpoint("org/name", revision="v1", cache_dir=str(tmp_path), local_files_only=True)
    ((args, options),) = hub.calls
    assert args == ("org/name",)
    assert options["revision"] == "v1"
    assert Path(options["cache_dir"]) == tmp_path
    assert options["local_files_only"] is True
    assert (opened.info.name, opened.info.revision) == ("org/name", "v1")
    assert opened.folder == hub.folder


def test_the_default_is_the_published_model_from_the_hubs_own_cache(hub: Hub) -> None:
    assert open_checkpoint().info.name == "jinaai/jina-embeddings-v4"
    ((args, options),) = hub.calls
    assert args == ("jinaai/jina-embeddings-v4",)
    assert (options["revision"], options["cache_dir"], options["local_files_only"]) == (None, None, False)


def test_the_class_passes_hub_arguments_on(hub: Hub, tmp_path: Path) -> None:
    hub.error = LocalEntryNotFoundError("not here")
    with pytest.raises(CheckpointNotFoundError):
        JinaEmbeddings("org/name", engine="torch", revision="v1", cache_dir=tmp_path, local_files_only=True)
    ((_, options),) = hub.calls
    assert (options["revision"], Path(options["cache_dir"]), options["local_files_only"]) == ("v1", tmp_path, True)


def test_all_files_that_are_read_are_downloaded_and_no_code(hub: Hub) -> None:
    open_checkpoint("org/name")
    patterns = hub.calls[0][1]["allow_patterns"]
    wanted = [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "adapters/adapter_config.json",
        "adapters/adapter_model.safetensors",
    ]
    unwanted = ["modeling_jina_embeddings_v4.py", "pytorch_model.bin", "custom_st.py", "model.pt", "x.pkl"]
    assert list(filter_repo_objects([*wanted, *unwanted], allow_patterns=patterns)) == wanted


@pytest.mark.parametrize(("name", "task"), MERGED_REPOSITORIES.items())
def test_a_published_merged_checkpoint_is_known_by_its_name(
    hub: Hub, checkpoint: CheckpointMaker, name: str, task: str
) -> None:
    hub.folder = checkpoint(layout="merged", task="code")
    assert open_checkpoint(name).tasks == (task,)
    other = next(other for other in TASKS if other != task)
    with pytest.raises(TaskUnavailableError, match=f"was merged for {task}, not '{other}'"):
        open_checkpoint(name, task=other)


def answer(kind: type[Exception]) -> Exception:
    """Makes an error of huggingface_hub, which normally needs a response, without one."""
    error = kind.__new__(kind)
    error.args = ("404",)
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (answer(RepositoryNotFoundError), "HF_TOKEN"),
        (answer(GatedRepoError), "HF_TOKEN"),
        (answer(RevisionNotFoundError), "no revision 'v1'"),
        (HFValidationError("bad name"), "neither a folder nor a hub id"),
        (LocalEntryNotFoundError("not here"), "HF_HUB_OFFLINE"),
        (OfflineModeIsEnabled("offline"), "org/name"),
        (ConnectionError("no route"), "no route"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_hub_become_checkpoint_not_found(hub: Hub, error: Exception, message: str) -> None:
    hub.error = error
    with pytest.raises(CheckpointNotFoundError, match="org/name") as raised:
        open_checkpoint("org/name", revision="v1")
    assert message in str(raised.value)
    assert raised.value.__cause__ is error


def test_offline_an_unknown_id_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    monkeypatch.chdir(tmp_path)
    for options in ({}, {"local_files_only": True}, {"revision": "v1"}):
        with pytest.raises(CheckpointNotFoundError, match="nobody/nothing"):
            open_checkpoint("nobody/nothing", cache_dir=tmp_path, **options)


def fill_cache(cache: Path, folder: Path, name: str, commit: str) -> None:
    """The hub cache as a download leaves it: blobs, and a snapshot of links to them."""
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        blob = home / "blobs" / f"{number:040x}"
        blob.parent.mkdir(exist_ok=True)
        shutil.copy(path, blob)
        link = home / "snapshots" / commit / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))


def test_a_snapshot_in_the_hubs_cache_is_used_offline(
    checkpoint: CheckpointMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, commit = checkpoint(), "c0ffee" * 6 + "beef"
    fill_cache(tmp_path, folder, "org/name", commit)
    for revision in (None, "main", commit):
        opened = open_checkpoint("org/name", revision=revision, cache_dir=tmp_path, local_files_only=True)
        assert opened.tasks == TASKS
        assert opened.folder.name == commit
    with pytest.raises(CheckpointNotFoundError, match="org/name"):
        open_checkpoint("org/name", revision="v2", cache_dir=tmp_path)
    with JinaEmbeddings("org/name", engine="torch", cache_dir=tmp_path) as model:
        vector = model.encode_text("a text")
    with JinaEmbeddings(folder, engine="torch") as model:
        assert np.array_equal(model.encode_text("a text"), vector)
