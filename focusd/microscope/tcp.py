"""Options of the TCP connections to a microscope."""

from __future__ import annotations

import socket
from typing import Final

_SOL_TCP_OPTIONS: Final = (
    ("TCP_NODELAY", 1),
    # An idle half-open connection is found after 5 + 3 * 2 seconds ...
    ("TCP_KEEPIDLE", 5),
    ("TCP_KEEPINTVL", 2),
    ("TCP_KEEPCNT", 3),
    # ... and one with data under way after 10.
    ("TCP_USER_TIMEOUT", 10_000),
)


def tune(sock: socket.socket) -> None:
    """Send small messages at once, and find a dead peer within about 10 s; as far as the platform can."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOL_TCP_OPTIONS:
        option: int | None = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def acknowledge_now(sock: socket.socket) -> None:
    """Acknowledge what has come without waiting for something to send along, where the platform can.

    A server that collects small answers (Nagle's algorithm) sends the second only when the first has
    been acknowledged; a system that waits before it acknowledges makes that 40 ms.
    """
    option: int | None = getattr(socket, "TCP_QUICKACK", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, 1)
