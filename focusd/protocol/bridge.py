"""Bridge messages: a length, a JSON header, and after some headers an image; the same in both directions.

A bridge is a small program beside an instrument whose own interface is no TCP protocol. One message is

1. 4 bytes, big-endian: the length of the header, 1 to 65,536;
2. the header: a JSON-RPC 2.0 object in UTF-8;
3. exactly ``payload_bytes`` raw bytes, when the header has that key.

The key stands in the answer's ``result`` or the notification's ``params``; beside them, at the top of the
header, it is understood too. This module turns bytes into headers with their payloads and back;
``bridge_rpc`` tells requests from answers, ``bridge_values`` knows what is in them. All of it is pure.

Rules kept here:

1. The header is strict JSON: no not-a-number, no infinity, no key twice.
2. Nothing is read or reserved past the bounds: a length is only a claim.
3. A payload goes straight to where the receiver wants it, or is skipped through a small buffer.
4. Whatever bytes come in, nothing but ``RemoteProtocolError`` comes out.

Source: JSON-RPC 2.0 specification (jsonrpc.org, 2013) for the header; the framing is focusd's own.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, NoReturn, TypeAlias

from focusd.errors import LocalProtocolError, RemoteProtocolError

DEFAULT_PORT: Final = 8460
LENGTH_BYTES: Final = 4
MAX_HEADER_BYTES: Final = 65_536
PAYLOAD_KEY: Final = "payload_bytes"

_SCRATCH_BYTES: Final = 65_536
_LONGEST_SHOWN: Final = 64

Header: TypeAlias = dict[str, Any]


class NeedData(Enum):
    """The type of ``NEED_DATA``."""

    NEED_DATA = "NEED_DATA"


NEED_DATA: Final[Literal[NeedData.NEED_DATA]] = NeedData.NEED_DATA
"""What ``MessageStream.next_message`` gives while no message is whole."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came; ``payload`` is ``None`` without one, or when it was skipped."""

    header: Header
    payload: memoryview | None = None


Place: TypeAlias = Callable[[Header, int], memoryview | None]
"""Gives, for a header and the size of its payload, memory of just that size, or ``None`` to skip it."""


def allocate(_header: Header, payload_bytes: int) -> memoryview:
    """Give new memory for a payload, whatever it belongs to."""
    return memoryview(bytearray(payload_bytes))


def encode_header(header: Mapping[str, Any]) -> bytes:
    """Give length and header; the payload that the header announces has to follow.

    Raises:
        LocalProtocolError: not JSON (not-a-number and infinity are not), or too long.
    """
    try:
        data = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"a header must be JSON: {error}") from error
    if len(data) > MAX_HEADER_BYTES:
        raise LocalProtocolError(f"a header has at most {MAX_HEADER_BYTES} bytes, got {len(data)}")
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def decode_header(data: bytes | bytearray | memoryview) -> Header:
    """Read a header without its length.

    Raises:
        RemoteProtocolError: not one JSON object in UTF-8, or one that says something twice.
    """
    try:
        value = json.loads(str(data, "utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"a header is not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise RemoteProtocolError("a header is nested too deeply") from error
    except ValueError as error:
        # Also a whole number of more digits than Python reads.
        raise RemoteProtocolError(f"a header is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"a header must be a JSON object, got {shown(value)}")
    return value


def payload_size(header: Header) -> int:
    """Tell how many bytes follow a header.

    Raises:
        RemoteProtocolError: no whole number, a negative one, or two that differ.
    """
    sizes = [
        part[PAYLOAD_KEY]
        for part in (header, header.get("result"), header.get("params"))
        if isinstance(part, dict) and PAYLOAD_KEY in part
    ]
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise RemoteProtocolError(f"{PAYLOAD_KEY} must be a whole number from 0, got {shown(size)}")
    if len(set(sizes)) > 1:
        raise RemoteProtocolError(f"a header has two different values of {PAYLOAD_KEY}: {sizes}")
    return sizes[0] if sizes else 0


def shown(value: object) -> str:
    """Give a foreign value as it may stand in an error: ASCII, one line, short."""
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RemoteProtocolError("a header says one thing twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise RemoteProtocolError(f"a header holds {name}, which is not JSON")


class MessageStream:
    """Cuts a stream of bytes into messages, and puts payloads where they belong.

    Ask ``get_buffer`` for the place of the next bytes, fill a beginning of it, and tell ``received`` how
    many; or hand bytes to ``receive_data``. Then call ``next_message`` until it gives ``NEED_DATA``.
    After a ``RemoteProtocolError`` there is no way to find the next header: every later call raises it
    again, and the connection has to go.

    Args:
        max_payload_bytes: The largest payload that is accepted.
        place: Where payloads go; may raise ``RemoteProtocolError`` for one that cannot be.
    """

    def __init__(self, *, max_payload_bytes: int, place: Place = allocate) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._place = place
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._messages: deque[Message] = deque()
        self._error: RemoteProtocolError | None = None
        self._next: Callable[[], None] = self._on_length
        self._target = self._scratch[:LENGTH_BYTES]
        self._filled = 0
        self._header: Header = {}
        self._payload: memoryview | None = None
        self._payload_left = 0

    @property
    def in_message(self) -> bool:
        """Whether a message has begun to come and is not whole."""
        return self._next != self._on_length or self._filled > 0

    def get_buffer(self) -> memoryview:
        """Give the place for the next bytes; never empty."""
        return self._target[self._filled :]

    def received(self, count: int) -> None:
        """Take note of ``count`` bytes written at the beginning of the last ``get_buffer``.

        Raises:
            RemoteProtocolError: no header, a payload over the bound, or one that cannot be.
        """
        self._raise_again()
        self._filled += count
        if self._filled < len(self._target):
            return
        try:
            self._next()
        except RemoteProtocolError as error:
            self._error = error
            raise

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Copy bytes to where ``get_buffer`` says, as often as it takes.

        Raises:
            RemoteProtocolError: as ``received``; messages that were whole before can still be taken.
        """
        left = memoryview(data)
        while left:
            place = self.get_buffer()
            count = min(len(place), len(left))
            place[:count] = left[:count]
            left = left[count:]
            self.received(count)

    def next_message(self) -> Message | Literal[NeedData.NEED_DATA]:
        """Give the next whole message, or ``NEED_DATA``.

        Raises:
            RemoteProtocolError: the stream is broken, and every message before that has been given.
        """
        if self._messages:
            return self._messages.popleft()
        self._raise_again()
        return NEED_DATA

    def _raise_again(self) -> None:
        if self._error is not None:
            raise RemoteProtocolError(str(self._error)) from self._error

    def _expect(self, target: memoryview, then: Callable[[], None]) -> None:
        self._target, self._filled, self._next = target, 0, then

    def _on_length(self) -> None:
        length = int.from_bytes(self._target, "big")
        if not 0 < length <= MAX_HEADER_BYTES:
            raise RemoteProtocolError(
                f"a header of {length} bytes is announced, it must be 1 to {MAX_HEADER_BYTES}"
            )
        self._expect(self._scratch[:length], self._on_header)

    def _on_header(self) -> None:
        self._header = decode_header(self._target)
        size = payload_size(self._header)
        if size > self._max_payload_bytes:
            raise RemoteProtocolError(
                f"a payload of {size} bytes is announced, at most {self._max_payload_bytes} are accepted"
            )
        self._payload = self._place(self._header, size) if size else None
        if self._payload is None:
            self._payload_left = size
            self._skip()
        else:
            self._expect(self._payload, self._on_whole)

    def _skip(self) -> None:
        """Drop what is left of a payload that nobody wants."""
        step = min(self._payload_left, _SCRATCH_BYTES)
        self._payload_left -= step
        if step:
            self._expect(self._scratch[:step], self._skip)
        else:
            self._on_whole()

    def _on_whole(self) -> None:
        self._messages.append(Message(self._header, self._payload))
        self._header, self._payload = {}, None
        self._expect(self._scratch[:LENGTH_BYTES], self._on_length)
