"""A fake engine that a word kills, as a decoder dies of a broken file."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jina_embeddings import JinaEmbeddings
from jina_embeddings.checkpoint.fake import WordTokenizer
from jina_embeddings.engine.fake import FakeEngine

if TYPE_CHECKING:
    from jina_embeddings.pipeline import Run
    from jina_embeddings.types import FloatArray, Prepared

WORD = "deadly"
(_TOKEN,) = WordTokenizer().encode_batch_fast([WORD])[0].ids


class DeadlyEngine(FakeEngine):
    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        if any(_TOKEN in prepared.token_ids for prepared in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(batch, batch_size=batch_size, call_size=call_size)


class DeadFromTheStart(FakeEngine):
    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class RaisingEngine(FakeEngine):
    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        if any(_TOKEN in prepared.token_ids for prepared in batch):
            raise ZeroDivisionError("by a word")
        return super().run(batch, batch_size=batch_size, call_size=call_size)


def raising_model() -> JinaEmbeddings:
    return JinaEmbeddings(engine=RaisingEngine())


def deadly_model() -> JinaEmbeddings:
    return JinaEmbeddings(engine=DeadlyEngine())


def dead_model() -> JinaEmbeddings:
    return JinaEmbeddings(engine=DeadFromTheStart())


def fake_model() -> JinaEmbeddings:
    return JinaEmbeddings(engine="fake")


def fake_code_model() -> JinaEmbeddings:
    return JinaEmbeddings(engine="fake", task="code")


class SlowEngine(FakeEngine):
    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[FloatArray]:
        time.sleep(0.5)
        return super().run(batch, batch_size=batch_size, call_size=call_size)


def slow_model() -> JinaEmbeddings:
    """Half a second a call."""
    return JinaEmbeddings(engine=SlowEngine())


def drive_on_ray(run: Run) -> None:
    """A driver, in a process of its own."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    run.embed(slow_model)
