"""A TCP proxy that does to a connection what networks and switches do to it."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_PIECE_BYTES = 1 << 16


@dataclass
class Fault:
    """What is done to the bytes that pass, in both directions; nothing at first.

    Attributes:
        delay_s: Each piece comes so much later.
        piece_bytes: Pieces are cut to this size.
        bytes_per_s: Nothing comes faster than that.
        is_silent: Bytes are swallowed and connections stay open, as if the other computer had lost its power.
        is_refusing: New connections are reset at once.
        corrupt_at: This byte of each direction and connection is another.
        doubled_at: The piece with this byte comes twice.
        reset_at: The connection is reset when this byte has passed.
        close_at: The connection is closed when this byte has passed.
    """

    delay_s: float = 0.0
    piece_bytes: int = _PIECE_BYTES
    bytes_per_s: float | None = None
    is_silent: bool = False
    is_refusing: bool = False
    corrupt_at: int | None = None
    doubled_at: int | None = None
    reset_at: int | None = None
    close_at: int | None = None


@dataclass
class FaultProxy:
    """Leads connections on to ``port`` of this computer; made by ``fault_proxy``.

    ``fault`` may be changed at any time; positions count from then on.
    """

    port: int
    listening_on: list[int] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._fault = Fault()
        self._passed: dict[object, int] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def fault(self) -> Fault:
        """What is being done."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        self._passed.clear()

    def reset_all(self) -> None:
        """Reset every connection there is."""
        for writer in self._writers:
            _reset(writer)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, offset: int) -> None:
        """Lead one connection on."""
        self.connections += 1
        if self._fault.is_refusing:
            _reset(writer)
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.port + offset)
        except OSError:
            _reset(writer)
            return
        for source, sink in ((reader, there[1]), (there[0], writer)):
            self._writers.add(sink)
            self._keep(asyncio.create_task(self._copy(source, sink, (writer, there[1]))))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End everything."""
        for writer in self._writers:
            _reset(writer)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _copy(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        try:
            while data := await source.read(_PIECE_BYTES):
                for piece in _cut(data, self._fault.piece_bytes):
                    await self._pass(piece, sink, ends)
            if not self._fault.is_silent:
                sink.close()
        except OSError:
            for end in ends:
                _reset(end)

    async def _pass(
        self, piece: bytes, sink: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        fault = self._fault
        if fault.delay_s or fault.bytes_per_s:
            await asyncio.sleep(
                fault.delay_s + (len(piece) / fault.bytes_per_s if fault.bytes_per_s else 0.0)
            )
        if self._fault.is_silent:
            return
        first = self._passed.get(sink, 0)
        self._passed[sink] = first + len(piece)

        def holds(position: int | None) -> bool:
            return position is not None and first <= position < first + len(piece)

        if fault.corrupt_at is not None and holds(fault.corrupt_at):
            changed = bytearray(piece)
            changed[fault.corrupt_at - first] ^= 0xFF
            piece = bytes(changed)
        sink.write(piece * 2 if holds(fault.doubled_at) else piece)
        await sink.drain()
        if holds(fault.reset_at):
            for end in ends:
                _reset(end)
        if holds(fault.close_at):
            for end in ends:
                end.close()


@asynccontextmanager
async def fault_proxy(port: int, *, ports: int = 1) -> AsyncIterator[FaultProxy]:
    """Run a proxy for ``port`` and those that follow it; its own ports follow one another too."""
    proxy = FaultProxy(port)
    listeners = _free_ports(ports)
    servers = []
    for offset, listener in enumerate(listeners):

        async def connect(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, offset: int = offset
        ) -> None:
            await proxy.connect(reader, writer, offset)

        proxy.listening_on.append(listener.getsockname()[1])
        servers.append(await asyncio.start_server(connect, sock=listener))
    try:
        yield proxy
    finally:
        for server in servers:
            server.close()
        await proxy.close()


def _free_ports(count: int) -> list[socket.socket]:
    """Bind ports that follow one another."""
    while True:
        first = random.randint(20_000, 60_000)
        listeners = []
        try:
            for port in range(first, first + count):
                listener = socket.socket()
                listeners.append(listener)
                listener.bind(("127.0.0.1", port))
        except OSError:
            for listener in listeners:
                listener.close()
        else:
            return listeners


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
