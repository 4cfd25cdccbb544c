"""The connection to a bridge: one door for every exchange.

Rules kept here:

1. ``BridgeLink.exchange`` is the only writer. It holds the lock, writes one request and waits for its
   answer under a deadline. There is never more than one request open.
2. Requests have numbers that never come again, also not at the next connection. An answer must carry the
   number of the open request; anything else closes the connection: a late or doubled answer can never be
   taken for another's.
3. A caller that is cancelled leaves its request open. The next exchange first waits for that answer, under
   the deadline it had, and drops it: a bridge has no way to break off what it does.
4. An image is received straight into the memory the caller gives for it, once its size has been checked.
5. Notifications are counted, and given to whoever listens. The connection is always read on, so that one
   whose image nobody has room for is read over and holds up no answer.
6. The first failure closes the connection and is the cause of every error after it. Closing waits for
   nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, TypeVar

from focusd.errors import LinkError, LinkTimeoutError, RemoteProtocolError
from focusd.microscope.connection import Connection, connection, first_number
from focusd.microscope.tcp import acknowledge_now
from focusd.protocol.bridge import NEED_DATA, Header, Message, MessageStream, encode_header, shown
from focusd.protocol.bridge_rpc import (
    Answer,
    ErrorCode,
    Failure,
    Notification,
    Params,
    Request,
    parse_from_bridge,
)

SLOWEST_BYTES_PER_S: Final = 1e6
"""An image that comes slower than this is given up."""

_NO_REQUEST: Final = (ErrorCode.PARSE, ErrorCode.INVALID_REQUEST)

ImagePlace: TypeAlias = Callable[[object, int], memoryview]
"""Gives the memory for an image of so many bytes, from the answer's result; raises RemoteProtocolError."""


T = TypeVar("T")


class NotificationListener(Protocol):
    """Who is given notifications; from the event loop, in their order, whatever they hold."""

    def place(self, notification: Notification, payload_bytes: int) -> memoryview | None:
        """Give memory for the payload that comes now, or ``None`` to have it read over."""
        ...

    def take(self, notification: Notification) -> None:
        """Take one that is whole."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and when it was asked for and came, in seconds of the event loop's clock.

    ``came_at`` is the moment of the header, before an image.
    """

    answer: Answer
    sent_at: float
    came_at: float


@dataclass(slots=True)
class _Open:
    """The request whose answer is to come."""

    method: str
    identification: int
    sent_at: float
    timeout_s: float
    image: ImagePlace | None
    came_at: float | None = None
    was_delayed: bool = False
    reply: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def deadline(self) -> float:
        return self.sent_at + self.timeout_s


class BridgeLink(Connection, asyncio.BufferedProtocol):
    """A connection to a bridge; made by ``open_bridge_link``.

    Attributes:
        notifications: How many have come.
        listener: Who is given them; without anybody, they are read over.
    """

    def __init__(self, max_payload_bytes: int) -> None:
        super().__init__()
        self.notifications = 0
        self.listener: NotificationListener | None = None
        self._lock = asyncio.Lock()
        self._stream = MessageStream(max_payload_bytes=max_payload_bytes, place=self._place)
        self._open: _Open | None = None
        self._identification = first_number()

    async def exchange(
        self, method: str, params: Params | None = None, *, timeout_s: float, image: ImagePlace | None = None
    ) -> Reply:
        """Send one request and wait for its answer.

        Args:
            method: What to call.
            params: Its parameters, by name.
            timeout_s: Deadline for the answer, counted from the moment of sending. The transfer of an
                image adds to it what the slowest network takes.
            image: Where the image goes that belongs to the answer; without it, one is read over.

        Raises:
            LinkTimeoutError: no answer in time; the connection is closed.
            RemoteProtocolError: the bridge broke the protocol; the connection is closed.
            LinkError: the connection is, or has just been, lost.
            LocalProtocolError: parameters that cannot be sent; nothing was.
        """
        # Nobody waits long for the lock: whoever holds it has a deadline.
        async with self._lock:
            if self._open is not None:
                await self._reply_to(self._open)
            self.raise_if_lost()
            reply = await self._reply_to(self._send(method, params or {}, timeout_s, image))
        if isinstance(reply.answer, Failure) and reply.answer.kind in _NO_REQUEST:
            # What was sent is a request: somebody has lost the step.
            raise self._failed(RemoteProtocolError(f"{method}: the bridge answered {reply.answer.reason}"))
        return reply

    async def demand(
        self,
        method: str,
        parse: Callable[[object], T],
        *,
        timeout_s: float,
        params: Params | None = None,
    ) -> T:
        """Ask for what every bridge can tell at any time, and read the result.

        Raises:
            LinkError: as ``exchange``; also an error for an answer, for then the link is of no use.
        """
        reply = await self.exchange(method, params, timeout_s=timeout_s)
        if isinstance(reply.answer, Failure):
            raise self._failed(LinkError(f"{method}: the bridge answered {reply.answer.reason}"))
        return self.read(parse, reply.answer.value)

    def read(self, parse: Callable[[object], T], value: object) -> T:
        """Read a result; one that breaks the protocol closes the connection.

        Raises:
            RemoteProtocolError: as ``parse`` raises.
        """
        try:
            return parse(value)
        except RemoteProtocolError as error:
            self.fail(error)
            raise

    # --- called by the event loop ---

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the size is the caller's guess
        """Give the place for the next bytes."""
        return self._stream.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that were put there."""
        try:
            self._stream.received(nbytes)
            while (message := self._stream.next_message()) is not NEED_DATA:
                self._match(message)
        except RemoteProtocolError as error:
            self.fail(error)
        if self._open is not None and self._transport is not None:
            acknowledge_now(self._transport.get_extra_info("socket"))

    # --- private ---

    def _drop(self, error: LinkError) -> None:
        self._open = None
        super()._drop(error)

    def _failed(self, error: LinkError) -> LinkError:
        self.fail(error)
        return error

    def _send(self, method: str, params: Params, timeout_s: float, image: ImagePlace | None) -> _Open:
        data = encode_header(Request(method, params, self._identification + 1).header)
        self._identification += 1
        opened = _Open(method, self._identification, asyncio.get_running_loop().time(), timeout_s, image)
        # It may be that nobody is left to hear of a failure.
        opened.reply.add_done_callback(lambda reply: reply.cancelled() or reply.exception())
        self.watch(opened.reply)
        self._open = opened
        if self._transport is not None:
            self._transport.write(data)
        self.expect_answer(timeout_s)
        return opened

    async def _reply_to(self, opened: _Open) -> Reply:
        loop = asyncio.get_running_loop()
        while not opened.reply.done():
            left_s = opened.deadline - loop.time()
            if left_s <= 0:
                self.fail(LinkTimeoutError(f"no answer to {opened.method} within {opened.timeout_s:g} s"))
            else:
                await asyncio.wait([opened.reply], timeout=left_s)
        return opened.reply.result()

    def _place(self, header: Header, payload_bytes: int) -> memoryview | None:
        """Give the memory for an image: of the open request, or of a notification."""
        answer = parse_from_bridge(header)
        if isinstance(answer, Notification):
            if self._open is not None and not self._open.was_delayed:
                # The answer comes after it. No more than one: a bridge that never answers is found out.
                self._open.was_delayed = True
                self._give_more_time(self._open, payload_bytes)
            return None if self.listener is None else self.listener.place(answer, payload_bytes)
        opened = self._opened_for(answer)
        opened.came_at = asyncio.get_running_loop().time()
        if opened.image is None or isinstance(answer, Failure):
            return None
        place = opened.image(answer.value, payload_bytes)
        self._give_more_time(opened, payload_bytes)
        return place

    def _give_more_time(self, opened: _Open, payload_bytes: int) -> None:
        opened.timeout_s += payload_bytes / SLOWEST_BYTES_PER_S
        self.note_answer()
        self.expect_answer(max(0.0, opened.deadline - asyncio.get_running_loop().time()))

    def _match(self, message: Message) -> None:
        answer = parse_from_bridge(message.header)
        if isinstance(answer, Notification):
            self.notifications += 1
            if self.listener is not None:
                self.listener.take(answer)
            return
        opened = self._opened_for(answer)
        self._open = None
        self.note_answer()
        if not opened.reply.done():
            came_at = opened.came_at or asyncio.get_running_loop().time()
            opened.reply.set_result(Reply(answer, opened.sent_at, came_at))

    def _opened_for(self, answer: Answer) -> _Open:
        opened = self._open
        if opened is not None and answer.identification == opened.identification:
            return opened
        if answer.identification is None and isinstance(answer, Failure):
            raise RemoteProtocolError(f"the bridge could not read a request: {answer.reason}")
        asked = "nothing was asked" if opened is None else f"{opened.identification} was asked"
        raise RemoteProtocolError(f"got an answer with id {shown(answer.identification)}, {asked}")


def open_bridge_link(
    host: str, port: int, *, timeout_s: float, max_payload_bytes: int
) -> AbstractAsyncContextManager[BridgeLink]:
    """Connect to a bridge for the length of a ``with`` block.

    Raises:
        LinkTimeoutError: no connection within ``timeout_s``.
        LinkError: no connection.
    """
    return connection(lambda: BridgeLink(max_payload_bytes), host, port, timeout_s=timeout_s)
