"""Sockets of the relay."""

from __future__ import annotations

import errno
import socket
from typing import Final

from focusd.microscope.tcp import tune

_PORT_TRIES: Final = 200
_BACKLOG: Final = 100


def listen_on_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Listen on a port and the next one; port 0 takes two neighbours that are free.

    Raises:
        OSError: the host is none of this computer, a port that was asked for is taken, or no two
            neighbours are free.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    for _ in range(_PORT_TRIES):
        control = _listener(family, (address[0], port, *address[2:]))
        try:
            data_port = control.getsockname()[1] + 1
            return control, _listener(family, (address[0], data_port, *address[2:]))
        except (OSError, OverflowError):
            control.close()
            if port:
                raise
    raise OSError(errno.EADDRINUSE, "no two neighbouring ports are free")


def bound_beside(connected: socket.socket) -> socket.socket:
    """Give a socket with a port of its own at the near address of another one.

    Raises:
        OSError: no socket or no port is left, or the other one is closed.
    """
    near = connected.getsockname()
    sock = socket.socket(connected.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind((near[0], 0, *near[2:]))
        tune(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _listener(family: int, address: tuple[str | int, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        # A port whose last connections are still closing is free to be listened on again.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
