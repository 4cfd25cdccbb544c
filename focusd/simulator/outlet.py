"""One direction of one TCP connection: whole messages out, and an end to a client that does not read."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from focusd.simulator.faults import Faults

_HIGH_WATER_BYTES = 1 << 20
_KERNEL_BUFFER_BYTES = 1 << 18
_DRIBBLES_PER_MESSAGE = 40
_DRIBBLE_S = 0.0005


class OutletClosedError(Exception):
    """The connection is gone; ``client_stalled`` when it was cut because the client did not read."""

    def __init__(self, message: str, *, client_stalled: bool = False) -> None:
        self.client_stalled = client_stalled
        super().__init__(message)


class Outlet:
    """Sends messages whole and in order, whoever calls.

    Args:
        writer: The connection.
        faults: Whether messages trickle out.
        full_timeout_s: How long the client may leave a full buffer untouched, in real seconds.
    """

    def __init__(self, writer: asyncio.StreamWriter, faults: Faults, full_timeout_s: float) -> None:
        self._writer = writer
        self._faults = faults
        self._full_timeout_s = full_timeout_s
        self._order = asyncio.Lock()
        writer.transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        # A client that is gone already is noticed at the first write.
        with suppress(OSError):
            connection = writer.get_extra_info("socket")
            # An answer must not wait for an acknowledgement; asyncio sees to that only for its own sockets.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The kernel tells of room when a third of its buffer is free: a small one shows slow readers.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER_BYTES)

    async def send(self, message: bytes) -> None:
        """Send one message.

        Raises:
            OutletClosedError: The connection is gone; a client that did not read has been cut off.
        """
        async with self._order:
            if self._faults.dribble:
                await self._dribble(message)
            else:
                await self._write(message)

    def abort(self) -> None:
        """Cut the connection, unsent bytes and all."""
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """Cut the connection and wait until it is gone."""
        self.abort()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _dribble(self, message: bytes) -> None:
        step = max(1, len(message) // _DRIBBLES_PER_MESSAGE)
        for start in range(0, len(message), step):
            await self._write(message[start : start + step])
            await asyncio.sleep(_DRIBBLE_S)

    async def _write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise OutletClosedError("the connection is closed")
        self._writer.write(data)
        try:
            await self._drain()
        except TimeoutError as error:
            self.abort()
            raise OutletClosedError("the client does not read", client_stalled=True) from error
        except OSError as error:
            raise OutletClosedError("the connection is lost") from error

    async def _drain(self) -> None:
        """Wait for room; a client that reads slowly gets another respite as long as it reads at all."""
        while True:
            before = self._writer.transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._full_timeout_s):
                    await self._writer.drain()
            except TimeoutError:
                if self._writer.transport.get_write_buffer_size() >= before:
                    raise
            else:
                return
