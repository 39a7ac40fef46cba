"""Untrusted folders run nothing, and missing folders remove nothing from an index."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jina_embeddings.apps.code.repository import Repository
from jina_embeddings.apps.documents import Files
from jina_embeddings.apps.index import Document
from jina_embeddings.pipeline.rows import Failure


@pytest.mark.parametrize("name", ["core.fsmonitor", "filter.bad.clean", "filter.bad.process"])
def test_a_repositorys_configuration_runs_nothing(tmp_path: Path, name: str) -> None:
    root, ran = tmp_path / "repo", tmp_path / "ran"
    root.mkdir()
    (root / "a.py").write_text("def f():\n    return 1\n")
    (root / ".gitattributes").write_text("*.py filter=bad\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    subprocess.run(["git", "config", name, f"touch {ran}; cat"], cwd=root, check=True)
    (root / "a.py").write_text("def f():\n    return 2\n")
    repository = Repository(root)
    documents = [item for item in repository.documents() if isinstance(item, Document)]
    repository.unchanged({document.path: document.state for document in documents})
    assert [document.path for document in documents] == [".gitattributes", "a.py"]
    assert not ran.exists()


def test_unchanged_files_are_recognised_by_content(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1\n")
    repository = Repository(tmp_path)
    states = {item.path: item.state for item in repository.documents() if isinstance(item, Document)}
    (tmp_path / "b.py").write_text("x = 2\n")
    assert repository.unchanged(states) == {"a.py"}


def test_a_missing_root_keeps_its_documents(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    files = Files([str(root)])
    assert [type(item) for item in files.documents()] == [Failure]
    assert not files.gone(str(root / "a.txt"))


def test_an_empty_root_keeps_its_documents_unless_allowed(tmp_path: Path) -> None:
    files = Files([str(tmp_path)])
    assert [type(item) for item in files.documents()] == [Failure]
    assert not files.gone(str(tmp_path / "a.txt"))
    allowed = Files([str(tmp_path)], allow_empty=True)
    assert list(allowed.documents()) == []
    assert allowed.gone(str(tmp_path / "a.txt"))


def test_a_file_that_has_gone_from_a_root_with_others_is_removed(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("b")
    files = Files([str(tmp_path)])
    assert len(list(files.documents())) == 1
    assert files.gone(str(tmp_path / "a.txt"))
    assert not files.gone(str(tmp_path.parent / "a.txt"))
