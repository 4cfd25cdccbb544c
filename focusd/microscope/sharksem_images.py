"""The data connection of a SharkSEM session: pieces of scans, received into the memory of their image.

The server finds out whose data connection it is by its source port. So the socket is bound first, its
port is told over the control connection, and only then does it connect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from focusd.errors import LinkError, LinkTimeoutError, RemoteProtocolError
from focusd.microscope.link import Link, SocketInfo, call
from focusd.microscope.tcp import tune
from focusd.protocol.sharksem_image import ScanAssembler, ScanDataStream


class ImageConnection(asyncio.BufferedProtocol):
    """A data connection; made by ``open_images``. When it breaks, so does its link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stream = ScanDataStream()
        self._assembler: ScanAssembler | None = None
        self._ended: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.get_running_loop().create_future()

    def expect(self, assembler: ScanAssembler) -> asyncio.Future[None]:
        """Receive the pieces of one scan from now on, and of no other.

        Returns:
            Done when no more pieces are to come; raises ``LinkError`` when the connection is lost.
        """
        self._ended = asyncio.get_running_loop().create_future()
        self._link.watch(self._ended)
        self._stream.assembler = self._assembler = assembler
        return self._ended

    def ignore(self) -> None:
        """Drop all pieces from now on."""
        self._stream.assembler = self._assembler = None
        ended, self._ended = self._ended, None
        # A lost link is reported by whoever asked it last; nobody needs to hear of it here again.
        if ended is not None and not ended.cancel() and not ended.cancelled():
            ended.exception()

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the socket has been given back; only after ``close`` or a failure."""
        await asyncio.wait([self._gone])

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a byte stream is needed, got {transport!r}")
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the size is the caller's guess
        """Give the place for the next bytes."""
        return self._stream.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that were put there."""
        try:
            self._stream.received(nbytes)
        except RemoteProtocolError as error:
            self._link.fail(error)
            self.close()
            return
        assembler = self._assembler
        if assembler is not None and assembler.ended and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the whole session up: without images it is of no use."""
        reason = "the microscope closed it" if exc is None else str(exc)
        error = LinkError(f"the image connection was lost: {reason}")
        error.__cause__ = exc
        self._link.fail(error)
        if not self._gone.done():
            self._gone.set_result(None)


@asynccontextmanager
async def open_images(
    link: Link, *, connect_timeout_s: float, request_timeout_s: float
) -> AsyncIterator[ImageConnection]:
    """Open the data connection that belongs to ``link`` for the length of a ``with`` block.

    Raises:
        LinkTimeoutError: no answer, or no connection, in time.
        LinkError: refused, or no connection.
    """
    ends = link.socket_info
    with _bound_socket(ends) as sock:
        await _register(link, sock.getsockname()[1], request_timeout_s)
        host, control_port, *rest = ends.remote
        await _connect(sock, (host, control_port + 1, *rest), connect_timeout_s)
        loop = asyncio.get_running_loop()
        _, images = await loop.create_connection(lambda: ImageConnection(link), sock=sock)
        try:
            yield images
        finally:
            images.close()
            await images.wait_closed()


def _bound_socket(ends: SocketInfo) -> socket.socket:
    """Give a socket with a port of its own on the control connection's address.

    A server may tell its clients apart by address and port.
    """
    sock = socket.socket(ends.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind((ends.local[0], 0, *ends.local[2:]))
        tune(sock)
    except OSError as error:
        sock.close()
        raise LinkError(f"no socket for the image connection: {error}") from error
    return sock


async def _register(link: Link, port: int, timeout_s: float) -> None:
    answers = await link.exchange(call("TcpRegDataPort", port), timeout_s=timeout_s)
    code = answers["TcpRegDataPort"].integer()
    if code != 0:
        raise LinkError(f"the microscope refused data port {port}: TcpRegDataPort gave {code}")


async def _connect(sock: socket.socket, address: tuple[Any, ...], timeout_s: float) -> None:
    where = f"{address[0]}:{address[1]}"
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except TimeoutError as error:
        raise LinkTimeoutError(f"no image connection to {where} within {timeout_s:g} s") from error
    except OSError as error:
        raise LinkError(f"no image connection to {where}: {error}") from error
