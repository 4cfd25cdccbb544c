"""Those that send frames as fast as they are read: plainly, as a SharkSEM microscope, and as a bridge.

All are threads and blocking sockets, in a process of their own.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np

from focusd.frame import Pixels
from focusd.protocol.sharksem_image import ScanPiece, wire_pixels

SHARKSEM_HEADER: Final = struct.Struct("<16sIIHHI")
PLAIN_HEADER: Final = struct.Struct("<64x")
COUNT: Final = struct.Struct("<I")
FRAME_ID: Final = 1
PIECE_BYTES: Final = 1 << 19
"""What 50 ms of beam time are at 0.1 us a pixel."""

_ANSWERS: Final = {
    "GetWD": struct.pack("<I8s", 5, b"9.25\0\0\0\0"),
    "ScScanXY": bytes(4),
    "TcpRegDataPort": bytes(4),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of frame."""

    side_px: int
    bits: int = 8

    @property
    def nbytes(self) -> int:
        """Size of its pixels."""
        return self.side_px**2 * self.bits // 8

    def __str__(self) -> str:
        return f"{self.side_px}\u00b2 u{self.bits}"


@lru_cache(maxsize=4)
def picture(kind: Kind) -> Pixels:
    """Make a frame that is worth judging: coarse texture, and noise."""
    random = np.random.default_rng(1)
    side = min(kind.side_px, 1024)
    texture = cv2.GaussianBlur(random.standard_normal((side, side), dtype=np.float32), (0, 0), 2.0)
    levels = 128.0 + 30.0 * texture / texture.std() + 6.0 * random.standard_normal((side, side))
    scaled = np.clip(levels, 0.0, 255.0) * (257.0 if kind.bits == 16 else 1.0)
    tile = scaled.astype(np.uint16 if kind.bits == 16 else np.uint8)
    times = kind.side_px // side
    return np.tile(tile, (times, times))


def send_plain(tell: Callable[[int], None], kind: Kind) -> None:
    """Send as many frames as asked for, each after a header of 64 bytes: the least there can be."""
    frame = PLAIN_HEADER.pack() + wire_pixels(picture(kind))

    def answer(client: socket.socket) -> None:
        while count := client.recv(COUNT.size, socket.MSG_WAITALL):
            for _ in range(COUNT.unpack(count)[0]):
                client.sendall(frame)

    _serve(socket.create_server(("127.0.0.1", 0)), answer, tell)


def send_scans(tell: Callable[[int], None], kind: Kind) -> None:
    """Be a SharkSEM microscope whose scans take no time."""
    control, data = two_ports()
    pixels = wire_pixels(picture(kind))
    size = kind.bits // 8
    frame = b"".join(
        ScanPiece(FRAME_ID, 0, start // size, kind.bits, pixels[start : start + PIECE_BYTES]).encode()
        for start in range(0, len(pixels), PIECE_BYTES)
    )

    def answer(client: socket.socket) -> None:
        images: socket.socket | None = None
        while head := client.recv(SHARKSEM_HEADER.size, socket.MSG_WAITALL):
            name, size, number, *_ = SHARKSEM_HEADER.unpack(head)
            if size:
                client.recv(size, socket.MSG_WAITALL)
            body = _ANSWERS.get(name.rstrip(b"\0").decode())
            if body is None:
                # A server drops what it does not know without a word.
                continue
            client.sendall(SHARKSEM_HEADER.pack(name, len(body), number, 0, 0, 0) + body)
            if name.startswith(b"TcpRegDataPort"):
                images, _ = data.accept()
            elif name.startswith(b"ScScanXY") and images is not None:
                images.sendall(frame)

    _serve(control, answer, tell)


def send_bridge(tell: Callable[[int], None], kind: Kind) -> None:
    """Be a bridge whose scans take no time."""
    pixels = wire_pixels(picture(kind))
    state = {"working_distance_mm": 9.25}
    image = {
        "shape": [kind.side_px, kind.side_px],
        "dtype": f"uint{kind.bits}",
        "started_at": 0.0,
        "finished_at": 0.0,
        "state": state,
        "payload_bytes": len(pixels),
    }
    results: dict[str, dict[str, Any]] = {
        "hello": {"protocol": 1, "capabilities": [], "limits": {"working_distance_mm": [4.0, 30.0]}},
        "get_state": state,
        "scan": image,
    }

    def answer(client: socket.socket) -> None:
        now = 0.0
        while length := client.recv(4, socket.MSG_WAITALL):
            call = json.loads(client.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
            result = dict(results[call["method"]])
            if call["method"] == "scan":
                # By its own clock every image begins an hour after the one before: never too early.
                now += 3600.0
                result |= {"started_at": now, "finished_at": now}
            header = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()
            client.sendall(len(header).to_bytes(4, "big") + header)
            if call["method"] == "scan":
                client.sendall(pixels)

    _serve(socket.create_server(("127.0.0.1", 0)), answer, tell)


def _serve(
    listener: socket.socket, answer: Callable[[socket.socket], None], tell: Callable[[int], None]
) -> None:
    tell(listener.getsockname()[1])
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_until_gone, args=(client, answer), daemon=True).start()


def _until_gone(client: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    with client:
        try:
            answer(client)
        except ConnectionError:
            return


def two_ports() -> tuple[socket.socket, socket.socket]:
    """Listen on two ports next to each other, as a SharkSEM server does."""
    while True:
        control = socket.create_server(("127.0.0.1", 0))
        try:
            return control, socket.create_server(("127.0.0.1", control.getsockname()[1] + 1))
        except OSError:
            control.close()
