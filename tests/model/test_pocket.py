"""The bundled model works offline, is small, and finds passages by meaning."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import CautionWarning
from passages import PASSAGES, QUERIES


@pytest.fixture(scope="module")
def pocket() -> Iterator[JinaEmbeddings]:
    with JinaEmbeddings("pocket", engine="torch") as model:
        yield model


def test_finds_the_passage_that_answers(pocket: JinaEmbeddings) -> None:
    queries = pocket.encode_text(QUERIES, prompt_name="query")
    passages = pocket.encode_text(PASSAGES, prompt_name="passage")
    assert (pocket.similarity(queries, passages).argmax(1) == range(4)).all()


def test_has_the_whole_multi_task_layout(pocket: JinaEmbeddings) -> None:
    assert pocket.info.tasks == ("retrieval", "text-matching", "code")
    assert pocket.info.matryoshka_dims == (64, 128, 256, 384)
    assert pocket.encode_text("two words", return_multivector=True).shape[1] == 128


def test_cautions_come_once_and_at_the_callers_line() -> None:
    with JinaEmbeddings("pocket", engine="torch") as model, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            model.encode_image(Image.new("RGB", (56, 56)))
    (caution,) = [warning for warning in caught if warning.category is CautionWarning]
    assert str(caution.message).startswith("pocket: its vision tower reads printed text")
    assert caution.filename == __file__


@pytest.mark.long
def test_warns_once_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (56, 56)).save(name)
    command = [sys.executable, "-c", "from jina_embeddings.cli import main; main()"]
    arguments = ["embed", "a.png", "b.png", "-o", "v.npy", "--model", "pocket", "--engine", "torch"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.count("warning: pocket: its vision tower reads printed text") == 1


def test_fits_into_a_small_wheel() -> None:
    import jina_embeddings

    folder = Path(jina_embeddings.__file__).parent / "models" / "pocket"
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 58_000_000
