"""What every connection to a microscope has, whatever is spoken over it: its state, and how it ends.

The first failure closes the connection and is the cause of every error after it. Closing waits for nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, TypeVar

from focusd.errors import LinkError, LinkTimeoutError
from focusd.microscope.tcp import tune


class LinkState(StrEnum):
    """What has become of a connection."""

    CONNECTED = "connected"
    LOST = "lost"
    CLOSED = "closed"


class Connection(asyncio.BaseProtocol):
    """A connection that fails once and tells everybody who waits on it; made by ``connection``."""

    def __init__(self) -> None:
        self._watched: set[asyncio.Future[Any]] = set()
        self._on_lost: list[Callable[[], object]] = []
        self._cause: LinkError | None = None
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.get_running_loop().create_future()
        self.state = LinkState.CONNECTED

    def watch(self, future: asyncio.Future[Any]) -> None:
        """Let ``future`` raise the cause as soon as the connection is lost."""
        self.raise_if_lost()
        self._watched.add(future)
        future.add_done_callback(self._watched.discard)

    def raise_if_lost(self) -> None:
        """Raise ``LinkError`` with its cause unless the connection is up."""
        if self.state is not LinkState.CONNECTED:
            reason = "closed" if self._cause is None else f"lost: {self._cause}"
            raise LinkError(f"the connection to the microscope is {reason}") from self._cause

    def fail(self, error: LinkError) -> None:
        """Close the connection because of ``error``; only the first one counts."""
        if self.state is LinkState.CONNECTED:
            self.state = LinkState.LOST
            self._cause = error
            self._drop(error)
            for callback in self._on_lost:
                callback()

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when the connection fails, at once if it has; not when it is closed."""
        self._on_lost.append(callback)
        if self.state is LinkState.LOST:
            callback()

    def close(self) -> None:
        """Close the connection at once; harmless when it is closed."""
        if self.state is LinkState.CONNECTED:
            self.state = LinkState.CLOSED
            self._drop(LinkError("the connection to the microscope was closed"))

    async def wait_closed(self) -> None:
        """Wait until the socket has been given back; only after ``close`` or a failure."""
        await asyncio.wait([self._gone])

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a byte stream is needed, got {transport!r}")
        self._transport = transport
        tune(transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits."""
        reason = "the microscope closed the connection" if exc is None else f"the connection broke: {exc}"
        error = LinkError(reason)
        error.__cause__ = exc
        self.fail(error)
        if not self._gone.done():
            self._gone.set_result(None)

    def _drop(self, error: LinkError) -> None:
        for future in list(self._watched):
            if not future.done():
                future.set_exception(error)
        if self._transport is not None:
            self._transport.abort()


AnyConnection = TypeVar("AnyConnection", bound=Connection)


@asynccontextmanager
async def connection(
    make: Callable[[], AnyConnection], host: str, port: int, *, timeout_s: float
) -> AsyncIterator[AnyConnection]:
    """Connect for the length of a ``with`` block.

    Raises:
        LinkTimeoutError: no connection within ``timeout_s``.
        LinkError: no connection.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            _, made = await loop.create_connection(make, host, port)
    except TimeoutError as error:
        raise LinkTimeoutError(f"no connection to {host}:{port} within {timeout_s:g} s") from error
    except (OSError, UnicodeError) as error:
        # A name with an empty or overlong part fails to encode before it is looked up.
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else str(error)
        raise LinkError(f"no connection to {host}:{port}: {reason}") from error
    try:
        yield made
    finally:
        made.close()
        await made.wait_closed()
