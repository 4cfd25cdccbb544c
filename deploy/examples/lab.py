"""Stands for your own acquisition software: moves the stage, takes tiles, keeps them.

It speaks to a TESCAN SharkSEM server, real or ``focusd simulate``, with the standard library of Python 3.8,
and knows nothing of focusd. In your laboratory its place is taken by what you scan with today.
"""

from __future__ import annotations

import argparse
import socket
import struct
import time
from pathlib import Path

SIDE_PX = 256
DWELL_NS = 800
PIXEL_NM = 10.0
TIMEOUT_S = 60.0

_HEADER = struct.Struct("<16sIIHHI")
_PIECE = struct.Struct("<IiIiI")


class Acquisition:
    """A block of tiles, visited row by row, to and fro, around the place where the stage stands at zero.

    Args:
        options: From ``arguments``.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.columns, self.rows, self.pitch_mm = options.columns, options.rows, options.pitch_mm
        self.tiles = list(range(self.columns * self.rows))
        self._output = options.output
        self._microscope = Microscope(options.sem)

    def __enter__(self) -> Acquisition:
        return self

    def __exit__(self, *_: object) -> None:
        self._microscope.close()

    def take(self, tile: int) -> bytes:
        """Go to a tile, scan it, keep it (a later one in place of an earlier), and give its pixels."""
        self._microscope.go_to(*self.position_mm(tile))
        pixels = self._microscope.scan(SIDE_PX, DWELL_NS)
        if self._output is not None:
            (self._output / f"tile_{tile:04d}.raw").write_bytes(pixels)
        print(f"tile {tile}", flush=True)  # noqa: T201 - a script tells how far it is
        return pixels

    def position_mm(self, tile: int) -> tuple[float, float]:
        """Where a tile is: x and y of the stage."""
        row, column = divmod(tile, self.columns)
        column = column if row % 2 == 0 else self.columns - 1 - column
        return (column - (self.columns - 1) / 2) * self.pitch_mm, (row - (self.rows - 1) / 2) * self.pitch_mm


class Microscope:
    """As much of SharkSEM as takes a tile; ``address`` is ``HOST:PORT`` of the control port."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._control = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        self._control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = socket.socket()
        self._data.bind(("", 0))
        self._data.settimeout(TIMEOUT_S)
        self._ask("TcpRegDataPort", self._data.getsockname()[1])
        self._data.connect((host, int(port) + 1))
        self._send("SetViewField", SIDE_PX * PIXEL_NM * 1e-6)
        self._send("DtSelect", 0, 0)
        self._send("DtEnable", 0, 1, 8)

    def close(self) -> None:
        """Close both connections."""
        self._data.close()
        self._control.close()

    def go_to(self, x_mm: float, y_mm: float) -> None:
        """Move the stage and wait until it stands."""
        self._send("StgMoveTo", x_mm, y_mm)
        while self._ask("StgIsBusy"):
            time.sleep(0.01)

    def scan(self, side_px: int, dwell_ns: int) -> bytes:
        """Take one square frame of 8 bit."""
        last = side_px - 1
        error = self._ask("ScScanXY", 1, side_px, side_px, 0, 0, last, last, 1, dwell_ns)
        if error:
            raise OSError(f"the microscope would not scan (code {error})")
        pixels = bytearray(side_px * side_px)
        received = 0
        while received < len(pixels):
            name, body = _message(self._data)
            if name == b"ScData":
                _, _, index, _, count = _PIECE.unpack_from(body)
                pixels[index : index + count] = body[_PIECE.size : _PIECE.size + count]
                received += count
        return bytes(pixels)

    def _send(self, name: str, *values: float) -> None:
        body = b"".join(_encoded(value) for value in values)
        self._control.sendall(_HEADER.pack(name.encode(), len(body), 0, 0, 0, 0) + body)

    def _ask(self, name: str, *values: float) -> int:
        self._send(name, *values)
        return int(struct.unpack_from("<i", _message(self._control)[1])[0])


def arguments(description: str) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--sem", default="127.0.0.1:8300", help="SharkSEM server, HOST:PORT")
    parser.add_argument("--focusd", default="http://127.0.0.1:8470", help="where focusd listens")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--pitch-mm", type=float, default=0.0104)
    parser.add_argument("--output", type=Path, help="folder for the tiles; they are not kept otherwise")
    return parser.parse_args()


def _encoded(value: float) -> bytes:
    """Whole numbers as they are, others as text with its length, filled up with NULs."""
    if isinstance(value, int):
        return struct.pack("<I", value)
    text = str(value).encode() + b"\0\0\0\0"
    text = text[: len(text) // 4 * 4]
    return struct.pack("<I", len(text)) + text


def _message(connection: socket.socket) -> tuple[bytes, bytes]:
    name, size, *_ = _HEADER.unpack(_read(connection, _HEADER.size))
    return name.rstrip(b"\0"), _read(connection, size)


def _read(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise ConnectionError("the microscope has closed the connection")
        data += piece
    return bytes(data)
