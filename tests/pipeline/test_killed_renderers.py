"""A bulk run over PDFs whose renderers are killed all the time has each page, and the same vectors."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.inputs import pdf
from jina_embeddings.inputs.renderers import Renderer, Renderers
from jina_embeddings.pipeline import Form
from jina_embeddings.pipeline.folder import Folder
from killed_run import make_job

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only on Linux")

NUM_FILES, NUM_PAGES = 4, 25


def embedded(folder: Path, paths: list[str]) -> pa.Table:
    with JinaEmbeddings("fake", engine="fake") as model:
        make_job(Folder.at(folder), "1/1", paths, Form(), shard_rows=20).work(model, lambda *_: None)
    return pq.read_table(sorted(folder.glob("shard-*.parquet")))


@pytest.mark.long
def test_no_page_is_lost_when_its_renderer_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(NUM_FILES):
        pages = [Image.effect_noise((400, 300), 9 + 5 * page + number) for page in range(NUM_PAGES)]
        pages[0].save(tmp_path / f"{number}.pdf", save_all=True, append_images=pages[1:])
    paths = sorted(map(str, tmp_path.glob("*.pdf")))
    expected = embedded(tmp_path / "here", paths)

    made: list[Renderer] = []
    real = Renderer.__init__

    def init(renderer: Renderer, page_s: float) -> None:
        real(renderer, page_s)
        made.append(renderer)

    monkeypatch.setattr(Renderer, "__init__", init)
    pool = Renderers(2, pages_before=0)
    monkeypatch.setattr(pdf, "RENDERERS", pool)
    done = threading.Event()

    def kill() -> None:
        # Not so often that a page meets it twice.
        while not done.wait(0.6):
            if made and not made[-1].has_ended:
                with suppress(ProcessLookupError):
                    os.kill(made[-1].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        while len(made) < 5:
            found = embedded(tmp_path / f"there {time.monotonic()}", paths)
            assert found.equals(expected)
    finally:
        done.set()
        thread.join()
        pool.end()
    assert expected["error_code"].null_count == NUM_FILES * NUM_PAGES
