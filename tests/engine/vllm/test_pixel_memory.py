"""Memory that the engine's process shares with workers: reused when a pack is answered, given up when it is not."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from jina_embeddings.engine.vllm.pixel_memory import PixelMemory

pytest.importorskip("vllm")
from jina_embeddings.plugin.packed.pixels import MappedPixels

CPU = torch.device("cpu")


def mapped() -> MappedPixels:
    return MappedPixels(CPU, lambda: None)


def opened(answer: Any) -> PixelMemory | None:
    async def rpc(method: str, args: tuple[Any, ...]) -> list[Any]:
        assert method == "jina_read_pixels"
        return [answer(*args)]

    return asyncio.run(PixelMemory.open(rpc))


def open_segments() -> int:
    """How many segments this process has open or mapped; one more descriptor belongs to each mapping."""
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            if "jina-embeddings-pixels" in os.readlink(f"/proc/self/fd/{name}"):
                found.add(os.stat(f"/proc/self/fd/{name}").st_ino)
    return len(found)


def test_a_worker_sees_what_is_written_to_a_segment_it_has_mapped() -> None:
    memory, pixels = PixelMemory(), mapped()
    segment = memory.take(3_000_000)
    place = pixels(memory.reference(segment))
    assert place.shape == segment.place.shape
    segment.place[:3_000_000] = np.arange(3_000_000) % 251
    np.testing.assert_array_equal(place, segment.place)
    assert pixels(memory.reference(segment)) is place
    memory.close()


def test_another_process_maps_a_segment() -> None:
    memory = PixelMemory()
    segment = memory.take(100)
    segment.place[:5] = [7, 1, 8, 2, 8]
    program = (
        "import sys, torch; from jina_embeddings.plugin.packed.pixels import MappedPixels;"
        "place = MappedPixels(torch.device('cpu'), lambda: None)([*map(int, sys.argv[1:]), []]);"
        "print(bytes(place[:5]).hex()); place[5] = 9"
    )
    reference = list(map(str, memory.reference(segment)[:-1]))
    done = subprocess.run([sys.executable, "-c", program, *reference], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0701080208"
    assert segment.place[5] == 9
    memory.close()


def test_a_segment_is_reused_only_when_it_was_given_back() -> None:
    memory = PixelMemory()
    first, second = memory.take(1000), memory.take(1000)
    assert first is not second
    memory.give_back(first)
    assert memory.take(900) is first
    memory.retire(first)
    assert memory.take(900) not in (first, second)
    memory.close()


def test_a_larger_pack_gets_a_larger_segment_and_a_smaller_one_the_smallest_that_fits() -> None:
    memory = PixelMemory()
    small, large = memory.take(10), memory.take(40_000_000)
    assert [len(one.place) for one in (small, large)] == [2**20, 3 * 16 * 2**20]
    memory.give_back(large)
    memory.give_back(small)
    assert memory.take(2**20) is small
    assert memory.take(2**20) is large
    memory.close()


def test_memory_is_that_of_the_packs_in_progress_and_a_few_more() -> None:
    before, memory = open_segments(), PixelMemory()
    for size in (1_000_000, 20_000_000, 5_000_000):
        segments = [memory.take(size) for _ in range(9)]
        while segments:
            memory.give_back(segments.pop())
    assert open_segments() - before == 5
    # The largest stay, as they fit any pack.
    assert len(memory.take(30_000_000).place) == 32 * 2**20
    memory.close()
    assert open_segments() == before


def test_workers_are_told_what_to_forget_until_an_answer_shows_that_they_know() -> None:
    memory, waits = PixelMemory(), []
    pixels = MappedPixels(CPU, lambda: waits.append(1))
    lost, other = memory.take(1000), memory.take(1000)
    pixels(memory.reference(lost))
    memory.retire(lost)
    told = memory.reference(other)
    assert told[-1] == [lost.number]
    assert memory.reference(other) == told
    assert not waits
    pixels(told)
    # Copies from it may still be in progress.
    assert waits == [1]
    pixels(told)
    assert waits == [1]
    memory.were_told(told)
    assert memory.reference(other)[-1] == []
    memory.close()


def test_a_descriptor_that_stands_for_another_segment_by_now_is_refused() -> None:
    memory = PixelMemory()
    lost = memory.take(1000)
    late = memory.reference(lost)
    memory.retire(lost)
    again = memory.take(1000)
    assert again.descriptor == late[1]
    with pytest.raises(OSError, match="given up"):
        mapped()(late)
    memory.close()
    with pytest.raises(FileNotFoundError):
        mapped()(late)


def test_closing_twice_or_giving_back_afterwards_does_nothing() -> None:
    before, memory = open_segments(), PixelMemory()
    segment, other = memory.take(10), memory.take(10)
    memory.close()
    memory.close()
    memory.give_back(segment)
    memory.retire(other)
    del segment, other
    assert open_segments() == before


def test_it_is_used_if_every_worker_reads_what_was_written() -> None:
    memory = opened(lambda reference, count: mapped()(reference)[:count].tobytes())
    assert memory is not None
    memory.close()


@pytest.mark.parametrize("answer", [b"\0" * 64, "FileNotFoundError: /proc/1/fd/3", None])
def test_pixels_are_sent_if_a_worker_reads_something_else(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    before = open_segments()
    assert opened(lambda *_: answer) is None
    assert "pixels are sent to workers" in caplog.text
    assert not isinstance(answer, str) or answer in caplog.text
    assert open_segments() == before


def test_pixels_are_sent_if_asking_fails_or_the_system_has_no_such_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such method")

    assert opened(fail) is None
    monkeypatch.delattr(os, "memfd_create")
    assert opened(fail) is None


def test_segments_are_pinned_once_on_a_gpu_and_released_when_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def register(*arguments: int) -> int:
        calls.append(("register", *arguments))
        return 0 if len(calls) == 1 else 2

    def unregister(address: int) -> int:
        calls.append(("unregister", address))
        return 0

    runtime = SimpleNamespace(cudaHostRegister=register, cudaHostUnregister=unregister)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    memory = PixelMemory()
    pixels = MappedPixels(torch.device("cuda"), lambda: calls.append(("wait",)))
    pinned, unpinned = memory.take(10), memory.take(20)
    place = pixels(memory.reference(pinned))
    pixels(memory.reference(pinned))
    # The second is refused, and used without.
    assert len(pixels(memory.reference(unpinned))) == 2**20
    memory.retire(pinned)
    memory.retire(unpinned)
    pixels(memory.reference(memory.take(10)))
    memory.close()
    address = place.ctypes.data
    assert calls[0] == ("register", address, 2**20, 0)
    assert [call[0] for call in calls] == ["register", "register", "wait", "unregister", "register"]
    assert calls[3] == ("unregister", address)
