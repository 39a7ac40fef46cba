"""Which cluster `auto` stands for, without one."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from deadly import fake_model
from jina_embeddings.pipeline import Cluster, Run

ray = pytest.importorskip("ray")


class AskedForError(Exception):
    """What Ray was asked for; nothing is started."""


def asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str = "auto") -> str:
    def init(address: str, **options: Any) -> None:
        raise AskedForError(address)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    (folder / "rows.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(AskedForError) as asked:
        Run([str(folder / "rows.jsonl")], folder / "v", cluster=Cluster(address)).embed(fake_model)
    return str(asked.value)


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Ray says where the cluster of this machine is."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    # Where Ray itself looks for it.
    path = Path(ray._private.utils.get_ray_address_file(None))
    assert path == tmp_path / "ray" / "ray_current_cluster"
    path.parent.mkdir()
    return path


def test_the_address_of_a_killed_cluster_is_not_waited_for(
    left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # nobody listens there
        left.write_text(f"127.0.0.1:{other.getsockname()[1]}\n")
        assert asked_for(tmp_path, monkeypatch) == "local"
        # Who names a cluster means that one.
        monkeypatch.setenv("RAY_ADDRESS", "10.1.2.3:6379")
        assert asked_for(tmp_path, monkeypatch) == "auto"


def test_a_cluster_that_lives_is_used(left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        left.write_text(f"127.0.0.1:{server.getsockname()[1]}\n")
        assert asked_for(tmp_path, monkeypatch) == "auto"
        assert asked_for(tmp_path, monkeypatch, f"127.0.0.1:{server.getsockname()[1]}").startswith("127.0.0.1:")


@pytest.mark.usefixtures("left")
def test_where_no_cluster_was_ray_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_for(tmp_path, monkeypatch) == "auto"
