"""Small packs on a socket of their own, beside vLLM's calls to its workers.

A call through vLLM goes through three threads on each side, and the worker takes up the next when it has answered the
one before. Here one thread launches each pack as it comes, behind the one that runs, and another sends the vectors
back: the device finds the next pack waiting.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import torch

from ..packs import Pack
from .transfer import Arrival

Launch = Callable[[Pack, int], Arrival | None]
"""Launches a pack on the weights of the adapter of that number; None where no graph holds it."""

HEADER_BYTES = 8


class PackChannel:
    """The worker's end. It lives as long as the connection; a broken one ends its threads.

    path: of the Unix socket at which the engine listens.
    device: whose current stream packs are launched on, so that they keep their order with all else that is.
    """

    def __init__(self, path: str, launch: Launch, device: torch.device):
        self._launch = launch
        self._device = device
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._launched: queue.SimpleQueue[tuple[int, Arrival | None, str | None] | None] = queue.SimpleQueue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        for work in (self._receive, self._send):
            threading.Thread(target=work, name=f"jina-embeddings{work.__name__}", daemon=True).start()

    def _receive(self) -> None:
        if self._stream is not None:
            # Streams and devices are chosen by each thread for itself.
            torch.cuda.set_device(self._device)
            torch.cuda.set_stream(self._stream)
        with suppress(OSError), self._socket.makefile("rb") as stream:
            while header := stream.read(HEADER_BYTES):
                ticket, pack, number = msgspec.msgpack.decode(stream.read(int.from_bytes(header, "little")))
                try:
                    self._launched.put((ticket, self._launch(Pack.from_wire(pack), number), None))
                except Exception as error:
                    self._launched.put((ticket, None, f"{type(error).__name__}: {error}"))
        self._launched.put(None)

    def _send(self) -> None:
        with suppress(OSError):
            while (item := self._launched.get()) is not None:
                ticket, arrival, failure = item
                vectors: bytes | None = None
                if arrival is not None:
                    try:
                        vectors = arrival.wait().numpy().tobytes()
                    except Exception as error:
                        failure = f"{type(error).__name__}: {error}"
                self._socket.sendall(framed((ticket, vectors, failure)))
        self._socket.close()


def framed(message: tuple[Any, ...]) -> bytes:
    """A message as it travels in either direction: its length in bytes, then msgpack."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(HEADER_BYTES, "little") + body
