"""The processes beside the relay's benchmark.

A microscope that answers at once, the relay, and a forwarder that looks at nothing: what any program in
between costs on this machine.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Final

from focusd.protocol.sharksem_image import ScanPiece
from focusd.sources.relay.frames import FrameQueue
from focusd.sources.relay.server import Relay
from focusd.sources.relay.shared import RelayOptions

HEADER: Final = struct.Struct("<16sIIHHI")
FRAME_ID: Final = 1
PIECE_BYTES: Final = 1 << 19
"""What 50 ms of beam time are at 0.1 us a pixel."""

_ANSWERS: Final = {
    "GetWD": struct.pack("<I8s", 5, b"9.25\0\0\0\0"),
    "ScScanXY": bytes(4),
    "TcpRegDataPort": bytes(4),
}


def wire_frame(side_px: int) -> bytes:
    """Give a frame of 8 bits as it travels."""
    pixels = bytes(range(256)) * (side_px * side_px // 256)
    return b"".join(
        ScanPiece(FRAME_ID, 0, start, 8, pixels[start : start + PIECE_BYTES]).encode()
        for start in range(0, len(pixels), PIECE_BYTES)
    )


class Peer:
    """A process and where it listens."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.port = int(connection.recv())

    def cpu_s(self) -> float:
        """Ask how much processor time all of its threads have used."""
        self._connection.send(None)
        return float(self._connection.recv())


def microscope(side_px: int) -> AbstractContextManager[Peer]:
    """Run the microscope in a process of its own."""
    return _process(_serve_microscope, side_px)


def relay(upstream_port: int) -> AbstractContextManager[Peer]:
    """Run a relay in a process of its own."""
    return _process(_serve_relay, upstream_port)


def forwarder(upstream_port: int) -> AbstractContextManager[Peer]:
    """Run a forwarder in a process of its own."""
    return _process(_serve_forwarder, upstream_port)


@contextmanager
def _process(serve: Callable[[Connection, int], None], argument: int) -> Iterator[Peer]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def child() -> None:
        # Otherwise it would wait for itself to let go.
        ours.close()
        serve(theirs, argument)

    process = context.Process(target=child, daemon=True)
    process.start()
    theirs.close()
    try:
        yield Peer(ours)
    finally:
        # The process ends when nobody holds the other end of the pipe any more.
        ours.close()
        process.join(5)
        process.kill()
        process.join()


def _serve_microscope(owner: Connection, side_px: int) -> None:
    control, data = _listen()
    frame = wire_frame(side_px)

    def accept() -> None:
        while True:
            connection, _ = control.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_answer, args=(connection, data, frame), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    owner.send(control.getsockname()[1])
    _report_until_end(owner)


def _answer(control: socket.socket, data: socket.socket, frame: bytes) -> None:
    """Answer one client; the benchmark's clients open their image connections one after another."""
    images: socket.socket | None = None
    while head := control.recv(HEADER.size, socket.MSG_WAITALL):
        name, size, *_ = HEADER.unpack(head)
        body = control.recv(size, socket.MSG_WAITALL) if size else b""
        answer = _ANSWERS[name.rstrip(b"\0").decode()]
        control.sendall(HEADER.pack(name, len(answer), 0, 0, 0, 0) + answer)
        if name.startswith(b"TcpRegDataPort"):
            images, _ = data.accept()
        elif name.startswith(b"ScScanXY") and images is not None:
            for _ in range(struct.unpack_from("<i", body, 28)[0]):
                images.sendall(frame)


def _serve_relay(owner: Connection, upstream_port: int) -> None:
    async def serve() -> None:
        frames = FrameQueue(2)
        async with Relay(RelayOptions("127.0.0.1", upstream_port), on_frame=frames.put) as running:
            owner.send(running.port)
            await asyncio.to_thread(_report_until_end, owner)

    asyncio.run(serve())


def _serve_forwarder(owner: Connection, upstream_port: int) -> None:
    control, data = _listen()

    def accept(listener: socket.socket, port: int) -> None:
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection(("127.0.0.1", port))
            for source, sink in ((client, upstream), (upstream, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_forward, args=(source, sink), daemon=True).start()

    threading.Thread(target=accept, args=(control, upstream_port), daemon=True).start()
    threading.Thread(target=accept, args=(data, upstream_port + 1), daemon=True).start()
    owner.send(control.getsockname()[1])
    _report_until_end(owner)


def _forward(source: socket.socket, sink: socket.socket) -> None:
    place = memoryview(bytearray(1 << 19))
    with suppress(OSError):
        while count := source.recv_into(place):
            sink.sendall(place[:count])
        sink.shutdown(socket.SHUT_WR)


def _report_until_end(owner: Connection) -> None:
    with suppress(EOFError):
        while True:
            owner.recv()
            owner.send(time.process_time())


def _listen() -> tuple[socket.socket, socket.socket]:
    while True:
        control = socket.create_server(("127.0.0.1", 0))
        try:
            return control, socket.create_server(("127.0.0.1", control.getsockname()[1] + 1))
        except OSError:
            control.close()
