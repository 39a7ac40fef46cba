"""Listening sockets: shared by several processes, and closed without the loss of a connection."""

from __future__ import annotations

import ctypes
import socket
import struct

from ..errors import OptionError

_BACKLOG = 2048
_SO_ATTACH_FILTER = 26


def require_free_port(host: str, port: int) -> None:
    """Raises OptionError if something listens on the port: processes that share it wouldn't notice."""
    listening_socket(host, port).close()


def listening_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that listens on the port; on `::` for IPv4 too.

    shared: other processes of this user may listen on it too, and the system spreads connections over them.

    Raises:
        OptionError: the port is taken or not allowed, or the address isn't one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, reuse_port=shared, dualstack_ipv6=both
        )
    except OSError as error:
        raise OptionError(f"port {port} of {host} can't be used: {error.strerror}") from error


def url_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def turn_away(listening: socket.socket) -> None:
    """Keeps a listening socket from getting new connections; those that come are refused when it is closed."""
    # A packet filter (man 7 socket) that drops whatever arrives, as its only instruction is to return 0 bytes of it.
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop)))
    except OSError:
        # Not on Linux. One connection may still queue up.
        listening.listen(0)
