"""`show_progress`: a bar where it is asked for, which ends at the number of inputs, and nothing elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Document, Index, Passage
from jina_embeddings.calls.request import Request
from jina_embeddings.calls.run import part_bounds
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import OptionError

TEXTS = [f"text {number}" for number in range(600)]


class OneCallAtATime(FakeEngine):
    calls_at_once = 1


@pytest.mark.parametrize("engine", [FakeEngine, OneCallAtATime])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:5]], ids=["parts", "one part"])
def test_the_bar_ends_at_the_number_of_inputs(
    capsys: pytest.CaptureFixture[str], engine: type[FakeEngine], texts: Sequence[str]
) -> None:
    with JinaEmbeddings(engine=engine()) as model:
        expected = model.encode_text(texts)
        assert capsys.readouterr().err == ""
        calls: list[Callable[[], Any]] = [
            lambda: model.encode_text(texts, show_progress=True),
            lambda: asyncio.run(model.aencode_text(texts, show_progress=True)),
        ]
        for call in calls:
            assert (call() == expected).all()
            assert f"{len(texts)}/{len(texts)}" in capsys.readouterr().err.splitlines()[-1]


def test_pictures_and_mixed_inputs_have_one_too(fake_model: JinaEmbeddings, capsys: pytest.CaptureFixture[str]) -> None:
    image: Any = Image.new("RGB", (56, 56))
    fake_model.encode_image([image, image], show_progress=True)
    assert "2/2" in capsys.readouterr().err
    fake_model.encode_document(["a text", image, "another"], show_progress=True)
    assert "3/3" in capsys.readouterr().err


def test_parts_are_small_where_progress_is_shown() -> None:
    bounds = part_bounds(Request.texts(TEXTS, {"show_progress": True}), 1)
    assert bounds == [(0, 256), (256, 512), (512, 600)]


def test_a_stream_refuses_it(fake_model: JinaEmbeddings) -> None:
    with pytest.raises(OptionError, match="wrap it"):
        fake_model.stream(TEXTS, show_progress=True)


def test_an_index_counts_its_passages(
    fake_model: JinaEmbeddings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = Index.open(tmp_path / "index", fake_model, create=True, dimension=128)
    passages = [Passage("a", "text", text) for text in TEXTS[:7]]
    index.update([Document("a", "digest", lambda: passages)], show_progress=True)
    assert "7 passages" in capsys.readouterr().err
