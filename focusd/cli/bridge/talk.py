"""One connection to a bridge under test. Other than the driver, it can send what no client should."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from dataclasses import dataclass

from focusd.errors import FocusdError, RemoteProtocolError
from focusd.protocol.bridge import NEED_DATA, Message, MessageStream, encode_header, shown
from focusd.protocol.bridge_rpc import (
    Answer,
    Identification,
    Notification,
    Params,
    Request,
    parse_from_bridge,
)

MAX_PAYLOAD_BYTES = 64 << 20
"""Far above what is asked for here."""

_READ_BYTES = 1 << 18


class BrokenRuleError(FocusdError):
    """The bridge does not keep the rule that is checked."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer with its payload, and when it was asked for and came, by the event loop's clock."""

    answer: Answer
    payload: memoryview | None
    sent_at: float
    came_at: float


class Talk:
    """A connection; made by ``open_talk``.

    Attributes:
        usable: Whether the next answer can be told from others.
        notifications: What came without being asked for, in order.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.usable = True
        self.notifications: list[tuple[Notification, int]] = []
        self._numbers = itertools.count(1)
        self._abandoned: set[Identification] = set()
        self._reader = reader
        self._writer = writer
        self._stream = MessageStream(max_payload_bytes=MAX_PAYLOAD_BYTES)

    async def ask(
        self,
        method: str,
        params: Params | None = None,
        *,
        timeout_s: float,
        identification: Identification = None,
    ) -> Told:
        """Send a request and give its answer.

        Raises:
            BrokenRuleError: no answer in time, none to this request, or nothing that is one.
        """
        number = next(self._numbers) if identification is None else identification
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        await self.write(encode_header(Request(method, params or {}, number).header))
        try:
            answer, payload = await self.answer(timeout_s, f"no answer to {method}")
        except asyncio.CancelledError:
            self._abandoned.add(number)
            raise
        if answer.identification != number:
            self.usable = False
            raise BrokenRuleError(
                f"{method} was asked with id {shown(number)}, an answer came with id "
                f"{shown(answer.identification)}"
            )
        return Told(answer, payload, sent_at, loop.time())

    async def answer(self, timeout_s: float, complaint: str) -> tuple[Answer, memoryview | None]:
        """Give the next answer, whosever it is; notifications before it are noted.

        One to a request that was broken off is read over.

        Raises:
            BrokenRuleError: none in time, or nothing that is one.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    message = await self._message()
                    told = parse_from_bridge(message.header)
                    if not isinstance(told, Notification):
                        if told.identification in self._abandoned:
                            continue
                        return told, message.payload
                    self.notifications.append((told, len(message.payload or b"")))
        except TimeoutError as error:
            self.usable = False
            half = ": the rest of a message is missing" if self._stream.in_message else ""
            raise BrokenRuleError(f"{complaint} within {timeout_s:g} s{half}") from error
        except RemoteProtocolError as error:
            self.usable = False
            raise BrokenRuleError(str(error)) from error

    async def write(self, data: bytes) -> None:
        """Send raw bytes.

        Raises:
            BrokenRuleError: the bridge has closed the connection.
        """
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            self.usable = False
            raise BrokenRuleError(f"the connection broke: {error}") from error

    async def ends(self, timeout_s: float) -> bool:
        """Tell whether the bridge closes the connection in time, whatever it sends before."""
        with contextlib.suppress(OSError):
            try:
                async with asyncio.timeout(timeout_s):
                    while await self._reader.read(_READ_BYTES):
                        pass
            except TimeoutError:
                return False
        return True

    def cut(self) -> None:
        """Break the connection off."""
        self.usable = False
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _message(self) -> Message:
        while (message := self._stream.next_message()) is NEED_DATA:
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError as error:
                self.usable = False
                raise BrokenRuleError(f"the connection broke: {error}") from error
            if not data:
                self.usable = False
                half = " in the middle of a message" if self._stream.in_message else ""
                raise BrokenRuleError(f"the bridge closed the connection{half}")
            self._stream.receive_data(data)
        return message


async def open_talk(host: str, port: int, *, timeout_s: float) -> Talk:
    """Connect.

    Raises:
        BrokenRuleError: no connection in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return Talk(*await asyncio.open_connection(host, port))
    except TimeoutError as error:
        raise BrokenRuleError(f"no connection within {timeout_s:g} s") from error
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        raise BrokenRuleError(f"no connection: {os.strerror(number) if number > 0 else error}") from error
