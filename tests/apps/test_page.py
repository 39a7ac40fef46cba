"""The page of `browse` without a browser: what is escaped, what is too large, and whom it answers."""

from __future__ import annotations

import asyncio
import html
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Hit, Index, Passage
from jina_embeddings.apps.retrieval import page
from jina_embeddings.apps.retrieval.marking import mark

HOSTILE = "<script>alert(1)</script> & <img src=x onerror='alert(2)'> \"bread\""

_ANSWERS = """
import sys
from nicegui import app, ui
from starlette.testclient import TestClient
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Index
from jina_embeddings.apps.retrieval import page

ui.run = lambda *arguments, **options: None
page.serve(Index.open(sys.argv[1], JinaEmbeddings(engine="fake"), create=True), port=int(sys.argv[2]))
client = TestClient(app, raise_server_exceptions=False)
for host in sys.argv[3:]:
    print(client.get("/", headers={"host": host}).status_code)
"""


@pytest.fixture
def shown(tmp_path: Path, fake_model: JinaEmbeddings) -> tuple[Any, MagicMock]:
    """The page, and the `ui` that it is drawn with."""
    ui = MagicMock()
    return page._Page(Index.open(tmp_path / "index", fake_model, create=True, dimension=128), ui), ui


@pytest.mark.parametrize("query", ["bread <script>", HOSTILE, "img onerror alert", "script"])
def test_a_passage_is_never_markup(shown: tuple[Any, MagicMock], query: str) -> None:
    drawn, ui = shown
    drawn._card(1, Hit(Passage(f"/{HOSTILE}.md", "text", HOSTILE, title=HOSTILE), 0.5, 0.5), query, "cosine")
    (markup,) = ui.html.call_args.args
    plain = markup.replace("<mark>", "").replace("</mark>", "")
    assert "<" not in plain
    assert html.unescape(plain) == HOSTILE
    assert "<mark>" in markup


def test_a_passage_found_by_a_picture_is_never_markup(shown: tuple[Any, MagicMock]) -> None:
    drawn, ui = shown
    drawn._card(1, Hit(Passage("a.md", "text", HOSTILE), 0.5, 0.5), Image.new("RGB", (8, 8)), "cosine")
    assert ui.html.call_args.args == (html.escape(HOSTILE),)


def test_only_passages_are_given_as_markup(shown: tuple[Any, MagicMock]) -> None:
    """Paths, titles and names of the index are given as text, which the browser is never told to read as HTML."""
    drawn, ui = shown
    drawn._card(1, Hit(Passage(f"/{HOSTILE}.md", "text", "", title=HOSTILE), 0.5, 0.5), HOSTILE, "cosine")
    assert not ui.html.called
    assert any(HOSTILE in call.args for call in ui.label.call_args_list)


def test_marking_keeps_entities_whole() -> None:
    assert mark("a&amp;b <b>", "amp b") == "a&amp;<mark>amp</mark>;<mark>b</mark> &lt;<mark>b</mark>&gt;"


@pytest.mark.parametrize(("size", "is_read"), [(page._MAX_UPLOAD_BYTES, True), (page._MAX_UPLOAD_BYTES + 1, False)])
def test_a_picture_over_the_limit_is_not_read(shown: tuple[Any, MagicMock], size: int, is_read: bool) -> None:
    drawn, ui = shown
    was_read = []

    async def read() -> bytes:
        was_read.append(True)
        return b"no picture"

    asyncio.run(drawn._dropped(SimpleNamespace(file=SimpleNamespace(size=lambda: size, read=read), sender=MagicMock())))
    assert bool(was_read) == is_read
    assert ui.notify.called != is_read
    assert ui.upload.call_args.kwargs["max_file_size"] == page._MAX_UPLOAD_BYTES


@pytest.mark.long
def test_other_names_of_this_machine_are_refused(tmp_path: Path) -> None:
    """In a process of its own: NiceGUI has one app for each, and behaves otherwise under pytest."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NICEGUI"))}
    hosts = ["localhost", "127.0.0.1:8080", "attacker.example", "localhost.attacker.example", "192.168.1.7"]
    arguments = [str(tmp_path / "index"), "0", *hosts]
    done = subprocess.run(
        [sys.executable, "-c", _ANSWERS, *arguments], env=environment, capture_output=True, text=True, timeout=600
    )
    statuses = [int(line) for line in done.stdout.split() if line.isdigit()]
    assert [status == 400 for status in statuses] == [False, False, True, True, True], done.stdout + done.stderr
