"""A SharkSEM client with the habits of clients found in the field, written without focusd's own codec.

It blocks; it sends header and body separately and leaves Nagle's algorithm on; it numbers nothing, never
asks for an acknowledgement, counts padding in the size of a string, puts its wait conditions on every
command, and takes whatever answer comes next for the one it waits for. A frame is complete only when the
number of bytes is exactly right.

Unlike those clients it has a deadline on its sockets, so that a fault fails a test instead of hanging it.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

HEADER = struct.Struct("<16sIIHHI")
PIECE = struct.Struct("<IiIiI")

A, B, C, D = 1, 2, 4, 8


class ClosedError(Exception):
    """The server closed the connection."""


class PlainClient:
    """One control connection and, unless ``data`` is false, one data connection."""

    def __init__(
        self, port: int, *, data: bool = True, receive_buffer: int = 0, deadline_s: float = 10.0
    ) -> None:
        self.port = port
        self.wait_conditions = 0
        self.deadline_s = deadline_s
        self.control = socket.create_connection(("127.0.0.1", port), timeout=deadline_s)
        self.data: socket.socket | None = None
        self.pieces: list[tuple[int, int, int, int, bytes]] = []
        if data:
            self.data = self.data_socket(receive_buffer)
            assert self.ask("TcpRegDataPort", "i", self.data.getsockname()[1]) == [0]
            self.data.connect(("127.0.0.1", port + 1))
            # The server pairs when it accepts: an answer after that shows that it has.
            self.ask("GetWD", "f")

    def data_socket(self, receive_buffer: int = 0) -> socket.socket:
        """Give a socket bound to a port that can be announced."""
        data = socket.socket()
        if receive_buffer:
            data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        data.bind(("127.0.0.1", 0))
        data.settimeout(self.deadline_s)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close both connections, data first."""
        if self.data is not None:
            self.data.close()
        self.control.close()

    def send(self, name: str, *values: float | str, flags: int = 0, identification: int = 0) -> None:
        """Send a command and wait for nothing."""
        body = b"".join(encoded(value) for value in values)
        flags |= self.wait_conditions << 8
        self.control.sendall(HEADER.pack(name.encode(), len(body), identification, flags, 0, 0))
        if body:
            self.control.sendall(body)

    def ask(self, name: str, types: str, *values: float | str, flags: int = 0) -> list[float | str]:
        """Send a command and give the values of the next answer."""
        self.send(name, *values, flags=flags)
        return self.answer(types)

    def answer(self, types: str) -> list[float | str]:
        """Read the next answer."""
        return decoded(self.message()[1], types)

    def message(self) -> tuple[tuple[bytes, int, int, int, int, int], bytes]:
        """Read the next message of the control connection: the header's fields and the body."""
        header = HEADER.unpack(read(self.control, HEADER.size))
        return header, read(self.control, header[1])

    def number(self, name: str, *values: float | str) -> float:
        """Ask for one float."""
        [value] = self.ask(name, "f", *values)
        assert isinstance(value, float)
        return value

    def whole(self, name: str, *values: float | str) -> int:
        """Ask for one int."""
        [value] = self.ask(name, "i", *values)
        assert isinstance(value, int)
        return value

    def text(self, name: str, *values: float | str) -> str:
        """Ask for one string."""
        [value] = self.ask(name, "s", *values)
        assert isinstance(value, str)
        return value

    def scan(self, frame_id: int, width: int, height: int, *, frames: int = 1, dwell_ns: int = 1000) -> int:
        """Start a scan of the whole field."""
        return self.whole("ScScanXY", frame_id, width, height, 0, 0, width - 1, height - 1, frames, dwell_ns)

    def fetch(self, channels: list[int], pixels: int) -> list[bytes]:
        """Collect one frame of each channel; every piece has to fit exactly, whatever its frame id."""
        frames = dict.fromkeys(channels, b"")
        while True:
            _, channel, index, bits, data = self.piece()
            size = bits // 8
            assert index * size == len(frames[channel]), "a piece came twice, was lost, or crossed a border"
            frames[channel] += data
            assert len(frames[channel]) <= pixels * size
            if all(len(frame) in {pixels, 2 * pixels} for frame in frames.values()):
                return list(frames.values())

    def piece(self) -> tuple[int, int, int, int, bytes]:
        """Read one image piece: frame id, channel, index, bits, pixels."""
        assert self.data is not None
        while True:
            name, size, *_ = HEADER.unpack(read(self.data, HEADER.size))
            body = read(self.data, size)
            if name.rstrip(b"\0") == b"ScData":
                frame_id, channel, index, bits, count = PIECE.unpack_from(body)
                assert len(body) == PIECE.size + (count + 3) // 4 * 4
                self.pieces.append((frame_id, channel, index, bits, body[20 : 20 + count]))
                return self.pieces[-1]


def encoded(value: float | str) -> bytes:
    """Encode one argument; strings and floats are filled up with NULs that the size counts."""
    if isinstance(value, int):
        return struct.pack("<I", value & 0xFFFFFFFF)
    data = str(value).encode() + b"\0\0\0\0"
    data = data[: len(data) // 4 * 4]
    return struct.pack("<I", len(data)) + data


def decoded(body: bytes, types: str) -> list[float | str]:
    """Decode as many arguments as there are letters."""
    values: list[float | str] = []
    offset = 0
    for letter in types:
        [number] = struct.unpack_from("<i", body, offset)
        offset += 4
        if letter == "i":
            values.append(number)
            continue
        text = body[offset : offset + number].split(b"\0")[0].decode()
        values.append(float(text) if letter == "f" else text)
        offset += (number + 3) // 4 * 4
    return values


def read(connection: socket.socket, count: int) -> bytes:
    """Read exactly so many bytes.

    Raises:
        ClosedError: the connection ended before.
    """
    data = b""
    while len(data) < count:
        try:
            more = connection.recv(count - len(data))
        except ConnectionError as error:
            raise ClosedError from error
        if not more:
            raise ClosedError
        data += more
    return data


def is_closed(connection: socket.socket) -> bool:
    """Read until the server has closed the connection."""
    try:
        while True:
            read(connection, 1)
    except ClosedError:
        return True


def wait_for(condition: Callable[[], bool], *, deadline_s: float = 5.0) -> None:
    """Look again and again until a condition holds; for blocking code in a thread of its own."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.002)
