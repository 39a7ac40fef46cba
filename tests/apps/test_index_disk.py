"""An index on a disk without room or with damaged files, and what else is written while applications run."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index.address import reaching
from jina_embeddings.apps.matching.inputs import VectorFile
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.cli import app
from jina_embeddings.errors import IndexUnreachableError, OptionError


@contextmanager
def files_of(num_bytes: int) -> Iterator[None]:
    """No file may be larger, which fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    for number in range(30):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"the text of number {number}")
    return tmp_path / "texts"


def test_an_index_says_that_there_is_no_room_and_goes_on(
    tmp_path: Path, texts: Path, fake_model: JinaEmbeddings
) -> None:
    into = tmp_path / "a.index"
    says = rf"{into} can't be read or written: File too large\. Make room there, or let it be written to"
    with files_of(20_000), pytest.raises(IndexUnreachableError, match=says):
        index_files([texts], into, fake_model)
    _, summary = index_files([texts], into, fake_model)
    assert summary.embedded == 30
    (texts / "new.txt").write_text("new")
    with files_of(1000), pytest.raises(IndexUnreachableError, match=says):
        index_files([texts], into, fake_model)
    _, summary = index_files([texts], into, fake_model)
    assert (summary.embedded, summary.unchanged) == (1, 30)


def test_a_folder_that_can_not_be_made_is_an_error_of_the_index(texts: Path) -> None:
    line = ["index", str(texts), "--into", str(texts / "0.txt" / "a.index"), "--engine", "fake"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 2
    assert "can't be read or written: Not a directory. Make room there, or let it be written to" in result.stderr


def test_vectors_that_find_no_room_name_the_temporary_folder() -> None:
    vectors = VectorFile()
    with files_of(20_000), pytest.raises(OSError, match=r"File too large: make room in .* or set TMPDIR"):
        vectors.append(np.zeros(10_000, np.float32))


def test_what_lance_can_not_connect_to_is_an_error_of_the_index(tmp_path: Path) -> None:
    message = 'Invalid input, Failed to connect: inner: Io { err: Os { code: 13, kind: PermissionDenied, message: "" }'
    with pytest.raises(IndexUnreachableError, match="or written: Permission denied"), reaching(str(tmp_path)):
        raise ValueError(message)
    with pytest.raises(ValueError, match="something else"), reaching(str(tmp_path)):
        raise ValueError("something else")


def cut_versions(table: Path) -> None:
    for path in (table / "_versions").iterdir():
        path.write_bytes(path.read_bytes()[:10])


def lose_words(table: Path) -> None:
    shutil.rmtree(table / "_indices")


def lose_rows(table: Path) -> None:
    for path in (table / "data").iterdir():
        path.unlink()


@pytest.mark.parametrize("damage", [cut_versions, lose_words, lose_rows])
def test_a_damaged_index_is_an_error_that_says_so(
    tmp_path: Path, texts: Path, fake_model: JinaEmbeddings, damage: Callable[[Path], None]
) -> None:
    into = tmp_path / "a.index"
    for name in ("0.txt", "1.txt"):
        index_files([texts / name], into, fake_model)
    damage(into / "passages.lance")
    for mode in ("hybrid", "dense"):
        line = ["search", str(into), "number", "--engine", "fake", "--mode", mode]
        result = CliRunner().invoke(app, line)
        if damage is not lose_words or mode == "hybrid":
            assert result.exit_code == 2
            says = f"error [index_unreachable]: {into} can't be read: files in it are missing or damaged. Delete it and"
            assert result.stderr.startswith(says), result.stderr


def test_an_index_in_place_of_a_file_is_refused(texts: Path, fake_model: JinaEmbeddings) -> None:
    with pytest.raises(OptionError, match=r"1\.txt is a file: give a folder"):
        index_files([texts / "0.txt"], texts / "1.txt", fake_model)
    with pytest.raises(OptionError, match="no folder is named"):
        index_files([texts / "0.txt"], "", fake_model)
