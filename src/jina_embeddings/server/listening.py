"""Listening sockets: shared by several processes, and closed without the loss of a connection."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Any

from ..errors import OptionError

_BACKLOG = 2048
_SO_ATTACH_FILTER = 26


def require_free_port(host: str, port: int) -> None:
    """Raises OptionError if something listens on the port: processes that share it wouldn't notice."""
    try:
        _listening(host, port).close()
    except OSError as error:
        raise OptionError(f"port {port} of {host} can't be used: {error.strerror}") from error


def shared_socket(host: str, port: int) -> socket.socket:
    """A socket on a port that others of this user may listen on too; the system spreads connections over them."""
    return _listening(host, port, reuse_port=True, backlog=_BACKLOG)


def _listening(host: str, port: int, **options: Any) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, **options)


def turn_away(listening: socket.socket) -> None:
    """Keeps a listening socket from getting new connections; those that come are refused when it is closed."""
    # A packet filter (man 7 socket) that drops whatever arrives, as its only instruction is to return 0 bytes of it.
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop)))
    except OSError:
        # Not on Linux. One connection may still queue up.
        listening.listen(0)
