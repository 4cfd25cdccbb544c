"""Sockets to listen on: all addresses of a host, one port, or a file; and one line when it cannot be."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from pathlib import Path

_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What binding says of an address that a name has but this computer lacks, such as ::1 without IPv6."""


async def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of ``host``; with port 0 on one free port for all of them.

    Raises:
        OSError: it cannot be; the message names ``http.host`` and ``http.port``.
    """
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            port = sockets[0].getsockname()[1] if sockets else port
            _add(sockets, family, str(address[0]), port)
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "no such address on this computer")  # noqa: TRY301 - told below
    except OSError as error:
        for opened in sockets:
            opened.close()
        why = error.strerror or str(error)
        raise OSError(
            error.errno, f"cannot listen on http.host = {host}, http.port = {port}: {why}"
        ) from error
    return sockets


def _add(sockets: list[socket.socket], family: int, address: str, port: int) -> None:
    try:
        sockets.append(_bound(family, address, port))
    except OSError as error:
        if error.errno not in _ABSENT:
            raise


def _bound(family: int, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        # A port whose last connections are still closing is free to be listened on again.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Listen on a socket file that this user and group may use; one that nobody listens on is replaced.

    Raises:
        OSError: it cannot be; the message names ``http.unix_socket``.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        if _is_left_over(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(128)
    except OSError as error:
        listener.close()
        why = error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on http.unix_socket = {path}: {why}") from error
    return listener


def _is_left_over(path: Path) -> bool:
    """Whether a socket file is there that nobody listens on any more."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """Give the base URL a client on this computer uses."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    name = f"[{address}]" if address.version == 6 else str(address)
    return f"{scheme}://{name}:{port}"
