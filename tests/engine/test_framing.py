"""Frames of a socket, however they are cut on their way."""

from __future__ import annotations

import pytest

from jina_embeddings.engine.framing import HEADER_BYTES, Received


@pytest.mark.parametrize("step", [1, 2, 7, 9, 100])
def test_frames_are_whole_wherever_they_are_cut(step: int) -> None:
    frames = [b"one", b"", b"x" * 30, b"last"]
    sent = b"".join(len(frame).to_bytes(HEADER_BYTES, "little") + frame for frame in frames)
    received = Received()
    found = [bytes(frame) for at in range(0, len(sent), step) for frame in received.frames(sent[at : at + step])]
    assert found == frames
