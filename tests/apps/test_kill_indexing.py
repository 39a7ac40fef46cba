"""An index survives SIGKILL; `tools/kill_indexing.py` tests the same for longer, on a real model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.retrieval import index_files

TOOL = Path(__file__).parents[2] / "tools" / "kill_indexing.py"

_KILLED_WHILE_MAKING_IT = """
import os, signal, sys
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index.store import Store
from jina_embeddings.apps.retrieval import index_files

Store.index_words = lambda store: os.kill(os.getpid(), signal.SIGKILL)
index_files([sys.argv[1]], sys.argv[2], JinaEmbeddings(engine="fake"))
"""

_WRITER = """
import os, sys, time
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import update
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.errors import IndexBusyError

update.WRITE_PASSAGES = 10
model = JinaEmbeddings(engine="fake")
print("ready", flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
try:
    index_files([sys.argv[1]], sys.argv[2], model, multivector="int8", allow_empty=True)
except IndexBusyError:
    sys.exit(5)
"""


@pytest.mark.parametrize("multivector", [[], ["--multivector", "int8"]], ids=["dense", "multivector"])
def test_an_index_that_was_killed_ends_like_one_made_in_one_go(multivector: list[str]) -> None:
    options = ["--engine", "fake", "--kills", "4", "--files", "60", "--max-wait", "0.5", "--write-passages", "10"]
    done = subprocess.run([sys.executable, TOOL, *options, *multivector], capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["num_kills"] == 4
    assert result["rounds"][-1]["passages"] > 60


def test_a_kill_before_words_have_an_index_is_made_up_for(tmp_path: Path, fake_model: JinaEmbeddings) -> None:
    files, address = tmp_path / "files", tmp_path / "index"
    files.mkdir()
    (files / "boiler.txt").write_text("the boiler was repaired")
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_MAKING_IT, files, address], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    index, _ = index_files([files], address, fake_model)
    assert index.store.indexes_words
    # Only the index knows endings.
    assert [hit.passage.text for hit in index.search("repairing", mode="words")] == ["the boiler was repaired"]


def test_of_writers_that_begin_together_one_writes_at_a_time_and_nothing_is_lost(
    tmp_path: Path, fake_model: JinaEmbeddings
) -> None:
    files, address = tmp_path / "files", tmp_path / "index"
    files.mkdir()
    for number in range(60):
        (files / f"{number}.txt").write_text(f"note number{number} of many")
    begin = tmp_path / "begin"
    command = [sys.executable, "-c", _WRITER, str(files), str(address), str(begin)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    begin.touch()
    statuses = [writer.wait(120) for writer in writers]
    assert set(statuses) <= {0, 5}
    assert 0 in statuses
    index, summary = index_files([files], address, fake_model)
    assert (len(index), summary.unchanged, summary.embedded) == (60, 60, 0)
    for number in (0, 33, 59):
        assert index.search(f"number{number}", mode="words", limit=1)[0].passage.text.startswith(
            f"note number{number} "
        )
    assert index.store.fingerprint.multivector == "int8"
