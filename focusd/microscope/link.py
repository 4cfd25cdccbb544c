"""The control connection to a SharkSEM server: one door for every exchange.

Rules kept here:

1. ``Link.exchange`` is the only writer. It holds the lock, writes all of its requests at once and waits
   for their answers under a deadline that each answer renews.
2. Requests are numbered and answers come in the order of the requests. The next answer must carry name
   and number of the oldest open request, so a late answer can never be taken for another's. Anything
   else closes the connection: there is no way to find back into step.
3. A function without a result need not be acknowledged, and one that the server does not know is dropped
   without a word. Such a call is marked *optional* and followed by one that is always answered: the
   follower's answer proves that the optional one has been dealt with.
4. A caller that is cancelled leaves its requests open; their answers are checked and dropped.
5. The first failure closes the connection and is the cause of every error after it. Closing waits for
   nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from focusd.errors import LinkError, LinkTimeoutError, LocalProtocolError, RemoteProtocolError
from focusd.microscope.tcp import acknowledge_now, tune
from focusd.protocol.sharksem import NEED_DATA, Flag, Message, MessageStream, encode_message
from focusd.protocol.sharksem_body import Value
from focusd.protocol.sharksem_functions import FUNCTIONS, Function

MAX_ANSWER_BYTES: Final = 1 << 20
"""Far above any answer: the longest known is a list of detectors of about 1 kB."""


class LinkState(StrEnum):
    """What has become of a connection."""

    CONNECTED = "connected"
    LOST = "lost"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a remote function; see rule 3 for ``optional``."""

    name: str
    arguments: tuple[Value, ...] = ()
    optional: bool = False

    @property
    def function(self) -> Function:
        """What the table says of it."""
        return FUNCTIONS[self.name]


def call(name: str, *arguments: Value) -> Call:
    """Make a call that must be answered."""
    return Call(name, arguments)


def optional(name: str, *arguments: Value) -> Call:
    """Make a call whose answer may stay out."""
    return Call(name, arguments, optional=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """The values a function gave back."""

    values: tuple[int | float | str, ...]

    def number(self, position: int = 0) -> float:
        """Give a value as a number."""
        return float(self.values[position])

    def integer(self, position: int = 0) -> int:
        """Give a value as a whole number."""
        return int(self.values[position])

    def text(self, position: int = 0) -> str:
        """Give a value as text."""
        return str(self.values[position])


@dataclass(frozen=True, slots=True)
class SocketInfo:
    """Both ends of a connection; an address is ``(host, port)`` and what the family adds to it."""

    family: int
    local: tuple[Any, ...]
    remote: tuple[Any, ...]


@dataclass(slots=True)
class _Open:
    """A request whose answer is to come."""

    call: Call
    identification: int
    last: asyncio.Future[None] | None = None
    answer: Message | None = None


class Link(asyncio.Protocol):
    """A control connection; made by ``open_link``."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._stream = MessageStream(max_body_bytes=MAX_ANSWER_BYTES)
        self._open: deque[_Open] = deque()
        self._watched: set[asyncio.Future[Any]] = set()
        self._on_lost: list[Callable[[], object]] = []
        self._deadline: tuple[asyncio.Timeout, float] | None = None
        self._identification = 0
        self._cause: LinkError | None = None
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.get_running_loop().create_future()
        self.state = LinkState.CONNECTED

    @property
    def socket_info(self) -> SocketInfo:
        """Family and addresses of the connection.

        Raises:
            LinkError: the connection is lost.
        """
        self.raise_if_lost()
        if self._transport is None:
            raise LinkError("there is no connection to the microscope yet")
        sock: socket.socket = self._transport.get_extra_info("socket")
        try:
            return SocketInfo(sock.family, sock.getsockname(), sock.getpeername())
        except OSError as error:
            # The peer has gone; the event loop is about to say so.
            raise LinkError(f"the connection to the microscope broke: {error}") from error

    async def exchange(self, *calls: Call, timeout_s: float) -> dict[str, Answer]:
        """Send calls in one piece and wait for their answers.

        Args:
            calls: At least one; the last must not be optional.
            timeout_s: Deadline for the next answer, counted from the moment of sending and anew from
                each answer, whoever it is for: many calls may take longer than one.

        Returns:
            The answers by the function's name (of several calls of one, the last). Only optional calls
            can be missing.

        Raises:
            LinkTimeoutError: no answer in time; the connection is closed.
            RemoteProtocolError: an answer breaks the protocol; the connection is closed.
            LinkError: the connection is, or has just been, lost.
            LocalProtocolError: a call that cannot be sent; nothing was.
        """
        if not calls or calls[-1].optional:
            raise LocalProtocolError("an exchange must end with a call that is always answered")
        # Nobody waits long for the lock: whoever holds it has a deadline.
        async with self._lock:
            self.raise_if_lost()
            opened = self._send(calls)
            await self._wait_for(opened, timeout_s)
            try:
                return {
                    each.call.name: _decode(each.call, each.answer)
                    for each in opened
                    if each.answer is not None
                }
            except RemoteProtocolError as error:
                self.fail(error)
                raise

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

    def data_received(self, data: bytes) -> None:
        """Match what has come with the open requests."""
        self._stream.receive_data(data)
        try:
            while self.state is LinkState.CONNECTED:
                message = self._stream.next_message()
                if message is NEED_DATA:
                    break
                self._match(message)
        except RemoteProtocolError as error:
            self.fail(error)
        if self._open and self._transport is not None:
            acknowledge_now(self._transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits."""
        reason = "the microscope closed the connection" if exc is None else f"the connection broke: {exc}"
        error = LinkError(reason)
        error.__cause__ = exc
        self.fail(error)
        if not self._gone.done():
            self._gone.set_result(None)

    # --- private ---

    def _send(self, calls: tuple[Call, ...]) -> list[_Open]:
        """Write all requests at once and note what answers they will have."""
        opened = [_Open(each, self._next_identification()) for each in calls]
        data = b"".join(encode_message(_request(each)) for each in opened)
        opened[-1].last = asyncio.get_running_loop().create_future()
        self._open.extend(opened)
        if self._transport is not None:
            self._transport.write(data)
        return opened

    async def _wait_for(self, opened: list[_Open], timeout_s: float) -> None:
        last = opened[-1].last
        if last is None:
            raise LocalProtocolError("nobody waits for these requests")
        self.watch(last)
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                self._deadline = deadline, timeout_s
                await last
        except LinkError:
            raise
        except TimeoutError as error:
            names = ", ".join(each.call.name for each in opened)
            failure = LinkTimeoutError(f"no answer to {names} within {timeout_s:g} s")
            self.fail(failure)
            raise failure from error
        finally:
            self._deadline = None

    def _match(self, message: Message) -> None:
        """Give an answer to the oldest open request; optional ones before its own have been passed over."""
        while self._open:
            oldest = self._open.popleft()
            if (message.name, message.identification) == (oldest.call.name, oldest.identification):
                oldest.answer = message
                self._renew_deadline()
                if oldest.last is not None and not oldest.last.done():
                    oldest.last.set_result(None)
                return
            if not oldest.call.optional:
                raise RemoteProtocolError(
                    f"expected the answer to {oldest.call.name} with number {oldest.identification}, "
                    f"got {message.name} with number {message.identification}"
                )
        raise RemoteProtocolError(
            f"got an answer nobody asked for: {message.name} with number {message.identification}"
        )

    def _renew_deadline(self) -> None:
        if self._deadline is not None:
            deadline, timeout_s = self._deadline
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time() + timeout_s)

    def _next_identification(self) -> int:
        self._identification = self._identification % (2**32 - 1) + 1
        return self._identification

    def _drop(self, error: LinkError) -> None:
        self._open.clear()
        for future in list(self._watched):
            if not future.done():
                future.set_exception(error)
        if self._transport is not None:
            self._transport.abort()


def _request(opened: _Open) -> Message:
    function = opened.call.function
    flags = Flag.SEND_RESPONSE if function.is_void else 0
    body = function.request.encode(opened.call.arguments)
    return Message(function.name, body, opened.identification, int(flags))


def _decode(asked: Call, message: Message) -> Answer:
    try:
        return Answer(tuple(asked.function.answer.decode(message.body)))
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"{asked.name}: {error}") from error


@asynccontextmanager
async def open_link(host: str, port: int, *, timeout_s: float) -> AsyncIterator[Link]:
    """Connect to a control port for the length of a ``with`` block.

    Raises:
        LinkTimeoutError: no connection within ``timeout_s``.
        LinkError: no connection.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            _, link = await loop.create_connection(Link, host, port)
    except TimeoutError as error:
        raise LinkTimeoutError(f"no connection to {host}:{port} within {timeout_s:g} s") from error
    except (OSError, UnicodeError) as error:
        # A name with an empty or overlong part fails to encode before it is looked up.
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else str(error)
        raise LinkError(f"no connection to {host}:{port}: {reason}") from error
    try:
        yield link
    finally:
        link.close()
        await link.wait_closed()
