"""One end of a control connection: bytes in and out, paused and resumed by whoever is slow."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Final, Protocol

from focusd.microscope.tcp import acknowledge_now

MAX_UNSENT_BYTES: Final = 1 << 16
"""When so much waits to be sent to one side, the other is no longer read."""


class EndListener(Protocol):
    """What a session does with its two ends."""

    def received(self, end: ControlEnd, data: bytes) -> None:
        """Take bytes that have come."""
        ...

    def ended(self, end: ControlEnd) -> None:
        """The peer will send no more."""
        ...

    def lost(self, end: ControlEnd, error: Exception | None) -> None:
        """The connection is gone."""
        ...

    def filled(self, end: ControlEnd, *, full: bool) -> None:
        """The peer does not read, or reads again."""
        ...


class ControlEnd(asyncio.Protocol):
    """A connection; it is not read before ``resume``."""

    def __init__(self, listener: EndListener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.get_running_loop().create_future()
        # One for whoever made the end, taken back by the first ``resume``.
        self._pauses = 1

    @property
    def socket(self) -> socket.socket:
        """The socket, for its addresses and options.

        Raises:
            OSError: it is closed, or was never connected.
        """
        if self._transport is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        found: socket.socket = self._transport.get_extra_info("socket")
        return found

    def resume(self) -> None:
        """Take back one ``pause``."""
        self._pauses -= 1
        if not self._pauses and self._is_usable:
            self._open_transport.resume_reading()

    def pause(self) -> None:
        """Stop reading until it has been resumed as often."""
        self._pauses += 1
        if self._pauses == 1 and self._is_usable:
            self._open_transport.pause_reading()

    def write(self, data: bytes) -> None:
        """Send bytes; after the end they go nowhere."""
        if self._is_usable:
            self._open_transport.write(data)

    def finish(self) -> None:
        """Send what waits, and then the end of the stream."""
        if self._is_usable:
            self._open_transport.write_eof()

    def close(self) -> None:
        """Send what waits, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def acknowledge(self) -> None:
        """Let the peer send on at once though it waits for an acknowledgement first."""
        if self._is_usable:
            acknowledge_now(self.socket)

    async def wait_closed(self) -> None:
        """Wait until the socket has been given back."""
        if self._transport is not None:
            await asyncio.wait([self._gone])

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a byte stream is needed, got {transport!r}")
        transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        transport.pause_reading()
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand bytes over."""
        self._listener.received(self, data)

    def eof_received(self) -> bool:
        """Tell of the end, and keep the other direction."""
        self._listener.ended(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of the loss."""
        if not self._gone.done():
            self._gone.set_result(None)
        self._listener.lost(self, exc)

    def pause_writing(self) -> None:
        """Tell that the peer does not read."""
        self._listener.filled(self, full=True)

    def resume_writing(self) -> None:
        """Tell that the peer reads again."""
        self._listener.filled(self, full=False)

    @property
    def _is_usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def _open_transport(self) -> asyncio.Transport:
        if self._transport is None:
            raise RuntimeError("the connection has not been made")
        return self._transport
