"""An index survives SIGKILL; `tools/kill_indexing.py` tests the same for longer, on a real model."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import update
from jina_embeddings.apps.index.store import Store
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.errors import IndexBusyError

TOOL = Path(__file__).parents[2] / "tools" / "kill_indexing.py"

PROCESSES = multiprocessing.get_context("forkserver")


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes import the package once, and find the functions of this file."""
    PROCESSES.set_forkserver_preload(["jina_embeddings.apps.retrieval", "jina_embeddings.engine.fake", "lancedb"])
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


def killed_before_words_have_an_index(files: Path, address: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, JinaEmbeddings(engine="fake") as model:
        patch.setattr(Store, "index_words", lambda store: os.kill(os.getpid(), signal.SIGKILL))
        index_files([files], address, model)


def write(files: Path, address: Path, together: Barrier) -> None:
    """Indexes the files; exits with status 5 if another process is writing to the index."""
    update.WRITE_PASSAGES = 10
    with JinaEmbeddings(engine="fake") as model:
        together.wait(60)
        try:
            index_files([files], address, model, multivector="int8")
        except IndexBusyError:
            sys.exit(5)


@pytest.mark.long
def test_an_index_that_was_killed_ends_like_one_made_in_one_go() -> None:
    options = ["--multivector", "int8", "--kills", "6", "--files", "60", "--max-wait", "0.5", "--write-passages", "10"]
    done = subprocess.run([sys.executable, TOOL, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["num_kills"] == 6
    assert result["rounds"][-1]["passages"] > 60


@pytest.mark.long
def test_a_kill_before_words_have_an_index_is_made_up_for(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    files, address = tmp_path / "files", tmp_path / "index"
    files.mkdir()
    (files / "boiler.txt").write_text("the boiler was repaired")
    killed = PROCESSES.Process(target=killed_before_words_have_an_index, args=(files, address))
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    index, _ = index_files([files], address, fake_model)
    assert index.store.indexes_words
    # Only the index knows endings.
    assert [hit.passage.text for hit in index.search("repairing", mode="words")] == ["the boiler was repaired"]


@pytest.mark.long
def test_of_writers_that_begin_together_one_writes_at_a_time_and_nothing_is_lost(
    tmp_path: Path, fake_model: JinaEmbeddings
) -> None:
    files, address = tmp_path / "files", tmp_path / "index"
    files.mkdir()
    for number in range(60):
        (files / f"{number}.txt").write_text(f"note number{number} of many")
    together = PROCESSES.Barrier(3)
    writers = [PROCESSES.Process(target=write, args=(files, address, together)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    statuses = {writer.exitcode for writer in writers}
    assert statuses <= {0, 5}
    assert 0 in statuses
    index, summary = index_files([files], address, fake_model)
    assert (len(index), summary.unchanged, summary.embedded) == (60, 60, 0)
    for number in (0, 33, 59):
        assert index.search(f"number{number}", mode="words", limit=1)[0].passage.text.startswith(
            f"note number{number} "
        )
    assert index.store.fingerprint.multivector == "int8"
