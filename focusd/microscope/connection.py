"""What every connection to a microscope has, whatever is spoken over it: its state, and how it ends.

The first failure closes the connection and is the cause of every error after it. Closing waits for nothing.
When an answer is overdue, and long before it is given up, the connection says so: a microscope that hangs is
told from one that is away.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, Final, TypeVar

from focusd.errors import LinkError, LinkTimeoutError
from focusd.microscope.tcp import tune

OVERDUE_SHARE: Final = 0.5
"""Of the time that an answer has: after so much of it without one the link counts as unresponsive."""


class LinkState(StrEnum):
    """What has become of a connection."""

    CONNECTED = "connected"
    UNRESPONSIVE = "unresponsive"
    """It stands, but an answer is overdue."""
    DISCONNECTED = "disconnected"
    """It is lost, or has not been made yet."""
    STOPPED = "stopped"
    """It was closed by focusd."""


class Connection(asyncio.BaseProtocol):
    """A connection that fails once and tells everybody who waits on it; made by ``connection``."""

    def __init__(self) -> None:
        self._watched: set[asyncio.Future[Any]] = set()
        self._on_lost: list[Callable[[], object]] = []
        self._on_overdue: list[Callable[[bool], object]] = []
        self._overdue_at: asyncio.TimerHandle | None = None
        self._cause: LinkError | None = None
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.get_running_loop().create_future()
        self.state = LinkState.CONNECTED

    @property
    def is_up(self) -> bool:
        """Whether it stands."""
        return self.state in {LinkState.CONNECTED, LinkState.UNRESPONSIVE}

    def watch(self, future: asyncio.Future[Any]) -> None:
        """Let ``future`` raise the cause as soon as the connection is lost."""
        self.raise_if_lost()
        self._watched.add(future)
        future.add_done_callback(self._watched.discard)

    def raise_if_lost(self) -> None:
        """Raise ``LinkError`` with its cause unless the connection is up."""
        if not self.is_up:
            reason = "closed" if self._cause is None else f"lost: {self._cause}"
            raise LinkError(f"the connection to the microscope is {reason}") from self._cause

    def fail(self, error: LinkError) -> None:
        """Close the connection because of ``error``; only the first one counts."""
        if self.is_up:
            self.state = LinkState.DISCONNECTED
            self._cause = error
            self._drop(error)
            for callback in self._on_lost:
                callback()

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when the connection fails, at once if it has; not when it is closed."""
        self._on_lost.append(callback)
        if self.state is LinkState.DISCONNECTED:
            callback()

    def on_overdue(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback`` with ``True`` when an answer is overdue, and with ``False`` when one has come."""
        self._on_overdue.append(callback)
        if self.state is LinkState.UNRESPONSIVE:
            callback(True)

    def expect_answer(self, within_s: float) -> None:
        """Note that the next answer has so much time from now on."""
        self._cancel_timer()
        delay_s = OVERDUE_SHARE * within_s
        self._overdue_at = asyncio.get_running_loop().call_later(delay_s, self._set_overdue, True)

    def note_answer(self) -> None:
        """Note that an answer has come; ``expect_answer`` follows if there is another to come."""
        self._cancel_timer()
        self._set_overdue(False)

    def close(self) -> None:
        """Close the connection at once; harmless when it is closed."""
        if self.is_up:
            self.state = LinkState.STOPPED
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

    def _set_overdue(self, is_overdue: bool) -> None:
        state = LinkState.UNRESPONSIVE if is_overdue else LinkState.CONNECTED
        if self.is_up and state is not self.state:
            self.state = state
            for callback in self._on_overdue:
                callback(is_overdue)

    def _cancel_timer(self) -> None:
        if self._overdue_at is not None:
            self._overdue_at.cancel()
            self._overdue_at = None

    def _drop(self, error: LinkError) -> None:
        self._cancel_timer()
        for future in list(self._watched):
            if not future.done():
                future.set_exception(error)
        if self._transport is not None:
            self._transport.abort()


def first_number() -> int:
    """Give the number that the requests of a new connection follow; far from those of other connections."""
    return random.getrandbits(30)


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
