"""SharkSEM messages: a 32-byte little-endian header and a body, the same in both directions.

Both connections of a SharkSEM session speak in these messages. This module turns bytes into messages and
back; ``sharksem_body`` does the arguments inside a body, ``sharksem_functions`` lists what may be called,
``sharksem_image`` assembles images. All of it is pure: no socket, no clock.

Rules kept here:

1. A name is 1 to 15 printable ASCII characters, padded with NUL.
2. A body is never read past the bound given to the ``MessageStream``: a length field is only a claim.
3. Whatever bytes come in, nothing but ``RemoteProtocolError`` comes out.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, chapters on the message header and flags.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Final, Literal

from focusd.errors import LocalProtocolError, RemoteProtocolError

HEADER_BYTES: Final = 32
MAX_NAME_CHARACTERS: Final = 15

_HEADER: Final = struct.Struct("<16sIIHHI")


class Flag(IntFlag):
    """Request flags; a wait flag delays the execution of its command until the condition holds."""

    SEND_RESPONSE = 0x0001
    """Answer also when the function returns nothing."""
    JUMP = 0x0002
    """Put the command at the head of the session's queue."""
    WAIT_A = 0x0100
    """Electron beam not scanning."""
    WAIT_B = 0x0200
    """Stage and detector arms idle."""
    WAIT_C = 0x0400
    """Electron optics stable."""
    WAIT_D = 0x0800
    """No automatic procedure running."""
    WAIT_E = 0x1000
    """Ion beam not scanning."""
    WAIT_F = 0x2000
    """Ion optics stable."""
    WAIT_G = 0x4000
    """No automatic ion procedure running."""


WAIT_FLAGS: Final = (
    Flag.WAIT_A | Flag.WAIT_B | Flag.WAIT_C | Flag.WAIT_D | Flag.WAIT_E | Flag.WAIT_F | Flag.WAIT_G
)


class NeedData(Enum):
    """The type of ``NEED_DATA``."""

    NEED_DATA = "NEED_DATA"


NEED_DATA: Final[Literal[NeedData.NEED_DATA]] = NeedData.NEED_DATA
"""What ``MessageStream.next_message`` gives while no message is whole."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the 32 bytes before a body say.

    Raises:
        LocalProtocolError: a field does not fit the wire.
    """

    name: str
    body_bytes: int
    identification: int = 0
    flags: int = 0
    queue: int = 0

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise LocalProtocolError(
                f"a message name is 1 to 15 printable ASCII characters, got {self.name!r}"
            )
        if not (0 <= self.body_bytes < 2**32 and 0 <= self.identification < 2**32):
            raise LocalProtocolError(f"body size and identification are unsigned 32-bit, got {self!r}")
        if not (0 <= self.flags < 2**16 and 0 <= self.queue < 2**16):
            raise LocalProtocolError(f"flags and queue are unsigned 16-bit, got {self!r}")

    def encode(self) -> bytes:
        """Give the 32 bytes."""
        return _HEADER.pack(
            self.name.encode("ascii"), self.body_bytes, self.identification, self.flags, self.queue, 0
        )


def decode_header(data: bytes | bytearray | memoryview) -> Header:
    """Read the first 32 bytes of ``data`` as a header; the reserved field is ignored.

    Raises:
        RemoteProtocolError: the name is not one.
        ValueError: fewer than 32 bytes were given.
    """
    if len(data) < HEADER_BYTES:
        raise ValueError(f"a header has {HEADER_BYTES} bytes, got {len(data)}")
    raw, body_bytes, identification, flags, queue, _reserved = _HEADER.unpack_from(data)
    # Bytes after the first NUL are padding, whatever they hold.
    name = raw.split(b"\0", 1)[0].decode("ascii", errors="replace")
    if not _is_name(name):
        raise RemoteProtocolError(f"a message header holds no command name but {raw!r}")
    return Header(name, body_bytes, identification, flags, queue)


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_CHARACTERS and all("!" <= character <= "~" for character in name)


@dataclass(frozen=True, slots=True)
class Message:
    """One message; a request and its answer carry the same ``name``, ``identification`` and ``queue``."""

    name: str
    body: bytes = b""
    identification: int = 0
    flags: int = 0
    queue: int = 0

    def answer(self, body: bytes = b"") -> Message:
        """Give the answer to this request."""
        return Message(self.name, body, self.identification, 0, self.queue)


def encode_message(message: Message) -> bytes:
    """Give header and body in one buffer, so that one write sends both.

    Raises:
        LocalProtocolError: a field does not fit the wire.
    """
    header = Header(message.name, len(message.body), message.identification, message.flags, message.queue)
    return header.encode() + message.body


class MessageStream:
    """Cuts a stream of bytes into messages.

    Feed it with ``receive_data`` in whatever pieces arrive and call ``next_message`` until it gives
    ``NEED_DATA``. After a ``RemoteProtocolError`` there is no way to find the next header: every later
    call raises it again, and the connection has to go.
    """

    def __init__(self, *, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._read = 0
        self._header: Header | None = None
        self._error: RemoteProtocolError | None = None

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes as they came from the socket."""
        if self._error is None:
            self._buffer += data

    def next_message(self) -> Message | Literal[NeedData.NEED_DATA]:
        """Give the next whole message, or ``NEED_DATA``.

        Raises:
            RemoteProtocolError: no name in a header, or a body over the bound.
        """
        if self._error is not None:
            raise RemoteProtocolError(str(self._error)) from self._error
        try:
            return self._cut()
        except RemoteProtocolError as error:
            self._error = error
            self._buffer.clear()
            self._read = 0
            raise

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait for the rest of their message."""
        return len(self._buffer) - self._read

    def _cut(self) -> Message | Literal[NeedData.NEED_DATA]:
        header = self._header
        if header is None:
            if self.buffered_bytes < HEADER_BYTES:
                return self._need_data()
            header = decode_header(self._take(HEADER_BYTES))
            if header.body_bytes > self._max_body_bytes:
                raise RemoteProtocolError(
                    f"{header.name} claims a body of {header.body_bytes} bytes, "
                    f"at most {self._max_body_bytes} are accepted"
                )
            self._header = header
        if self.buffered_bytes < header.body_bytes:
            return self._need_data()
        self._header = None
        body = self._take(header.body_bytes)
        return Message(header.name, body, header.identification, header.flags, header.queue)

    def _take(self, count: int) -> bytes:
        start, self._read = self._read, self._read + count
        return bytes(memoryview(self._buffer)[start : self._read])

    def _need_data(self) -> Literal[NeedData.NEED_DATA]:
        # Cutting once per burst rather than once per message keeps many small messages linear.
        del self._buffer[: self._read]
        self._read = 0
        return NEED_DATA
