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
   Each connection counts from a number of its own: what was meant for an earlier one, and comes late by
   way of a serial line or a server that mixes its clients up, is told from an answer to this one.
4. A caller that is cancelled leaves its requests open; their answers are checked and dropped.
5. The first failure closes the connection and is the cause of every error after it. Closing waits for
   nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from focusd.errors import LinkError, LinkTimeoutError, LocalProtocolError, RemoteProtocolError
from focusd.microscope.connection import Connection, connection, first_number
from focusd.microscope.tcp import acknowledge_now
from focusd.protocol.sharksem import NEED_DATA, Flag, Message, MessageStream, encode_message
from focusd.protocol.sharksem_body import Value
from focusd.protocol.sharksem_functions import FUNCTIONS, Function

MAX_ANSWER_BYTES: Final = 1 << 20
"""Far above any answer: the longest known is a list of detectors of about 1 kB."""


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


class Link(Connection, asyncio.Protocol):
    """A control connection; made by ``open_link``."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = asyncio.Lock()
        self._stream = MessageStream(max_body_bytes=MAX_ANSWER_BYTES)
        self._open: deque[_Open] = deque()
        self._deadline: tuple[asyncio.Timeout, float] | None = None
        self._answer_within_s = 0.0
        self._identification = first_number()

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
            opened = self._send(calls, timeout_s)
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

    # --- called by the event loop ---

    def data_received(self, data: bytes) -> None:
        """Match what has come with the open requests."""
        self._stream.receive_data(data)
        try:
            while self.is_up:
                message = self._stream.next_message()
                if message is NEED_DATA:
                    break
                self._match(message)
        except RemoteProtocolError as error:
            self.fail(error)
        if self._open and self._transport is not None:
            acknowledge_now(self._transport.get_extra_info("socket"))

    # --- private ---

    def _send(self, calls: tuple[Call, ...], timeout_s: float) -> list[_Open]:
        """Write all requests at once and note what answers they will have."""
        opened = [_Open(each, self._next_identification()) for each in calls]
        data = b"".join(encode_message(_request(each)) for each in opened)
        opened[-1].last = asyncio.get_running_loop().create_future()
        self._open.extend(opened)
        if self._transport is not None:
            self._transport.write(data)
        self._answer_within_s = timeout_s
        self.expect_answer(timeout_s)
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
                self.note_answer()
                if self._open:
                    self.expect_answer(self._answer_within_s)
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
        super()._drop(error)


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


def open_link(host: str, port: int, *, timeout_s: float) -> AbstractAsyncContextManager[Link]:
    """Connect to a control port for the length of a ``with`` block.

    Raises:
        LinkTimeoutError: no connection within ``timeout_s``.
        LinkError: no connection.
    """
    return connection(Link, host, port, timeout_s=timeout_s)
