"""Small packs over a socket of their own, besides vLLM's RPCs to its workers.

An RPC of vLLM passes through three threads on each side, and a worker starts the next one only after it has answered
the one before. Here, one thread launches each pack as it arrives, while an earlier one runs, and another thread sends
the vectors back. So the device always has the next pack.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import torch

from ..packs import OpenMemory, Pack
from .transfer import Arrival

logger = logging.getLogger(__name__)

Launch = Callable[[Pack, int], Arrival | None]
"""Launches a pack with the adapter of an id; returns None if no CUDA graph is large enough."""

HEADER_BYTES = 8


class PackChannel:
    """The worker's end of the connection; its threads end when the connection is closed.

    path: the Unix socket on which the engine listens.
    device: packs are launched on the device's current stream, so they stay in order with other work.
    open_memory: as of `Pack.from_wire`.
    """

    def __init__(self, path: str, launch: Launch, device: torch.device, open_memory: OpenMemory | None = None):
        self._launch = launch
        self._open_memory = open_memory
        self._device = device
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._launched: queue.SimpleQueue[tuple[int, Launched | None, str | None] | None] = queue.SimpleQueue()
        self._clock = DeviceClock() if self._stream is not None else None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        for work in (self._receive, self._send):
            threading.Thread(target=work, name=f"jina-embeddings{work.__name__}", daemon=True).start()

    def _receive(self) -> None:
        if self._stream is not None:
            # The current device and stream are settings of each thread.
            torch.cuda.set_device(self._device)
            torch.cuda.set_stream(self._stream)
        try:
            with suppress(OSError), self._socket.makefile("rb") as stream:
                while header := stream.read(HEADER_BYTES):
                    ticket, pack, number = msgspec.msgpack.decode(stream.read(int.from_bytes(header, "little")))
                    try:
                        self._launched.put((ticket, self._timed(Pack.from_wire(pack, self._open_memory), number), None))
                    except Exception as error:
                        self._launched.put((ticket, None, f"{type(error).__name__}: {error}"))
        except Exception:
            logger.exception("small packs' connection ends: a message of the engine can't be read")
        finally:
            self._launched.put(None)

    def _timed(self, pack: Pack, number: int) -> Launched | None:
        begin = self._clock.begin() if self._clock is not None else None
        arrival = self._launch(pack, number)
        return None if arrival is None else Launched(arrival, begin)

    def _send(self) -> None:
        try:
            with suppress(OSError):
                while (item := self._launched.get()) is not None:
                    ticket, launched, failure = item
                    vectors: bytes | None = None
                    times: tuple[float, float] | None = None
                    if launched is not None:
                        try:
                            vectors = launched.arrival.wait().numpy().tobytes()
                            if self._clock is not None:
                                times = self._clock.times(launched)
                        except Exception as error:
                            failure = f"{type(error).__name__}: {error}"
                    self._socket.sendall(framed((ticket, vectors, times, failure)))
        finally:
            # Closing alone would leave the connection to the thread that reads, and the engine waiting.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()


class Launched(NamedTuple):
    """A pack's vectors on their way, and the event that the device reaches before the pack (None on a CPU)."""

    arrival: Arrival
    begin: torch.cuda.Event | None


class DeviceClock:
    """Measures packs by the device's clock: the host's would count the time that a pack waits for the one before."""

    def __init__(self) -> None:
        self._end: torch.cuda.Event | None = None

    def begin(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def times(self, launched: Launched) -> tuple[float, float]:
        """Seconds that a pack took, and that the device had waited for it; called once for each, when it is done."""
        begin, end, before = launched.begin, launched.arrival.event, self._end
        assert begin is not None
        assert end is not None
        self._end = end
        idle = 0.0 if before is None else max(0.0, before.elapsed_time(begin))
        return begin.elapsed_time(end) / 1000, idle / 1000


def framed(message: tuple[Any, ...]) -> bytes:
    """A message in the format of both directions: its length in bytes, then its msgpack encoding."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(HEADER_BYTES, "little") + body
