"""A SharkSEM server of a few lines that does as a test tells it, down to single bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from focusd.config import Limits, MicroscopeSettings, Timeouts
from focusd.microscope.sharksem import SharkSem, connect_sharksem
from focusd.protocol.sharksem import NEED_DATA, Flag, Message, MessageStream, encode_message
from focusd.protocol.sharksem_body import Value, encode_body
from focusd.protocol.sharksem_functions import FUNCTIONS, parse_version
from focusd.protocol.sharksem_image import ScanPiece

DETECTORS = "det.0.name=SE\ndet.0.detector=3\ndet.1.name=BSE\ndet.1.detector=7\n"
SPEEDS = "speed.1.dwell=0.1\nspeed.2.dwell=1\nspeed.3.dwell=10\nspeed.x.dwell=1\nspeed.4.dwell=none\n"

Misbehaviour: TypeAlias = Callable[["ScriptedServer", Message], Awaitable[None]]


@dataclass
class ScriptedServer:
    """What the microscope is, what it was asked, and how it misbehaves.

    ``misbehave`` replaces the answer to a command; ``send_image`` replaces the pieces of a scan.
    """

    version: str = "3.2.20"
    working_distance_mm: float = 9.0
    highest_mm: float = 50.0
    gui_scanning: int = 0
    acknowledges: bool = True
    busy_polls: int = 0
    other_client_scans: bool = False
    scan_code: int = 0
    channels: int = 4
    selected_detector: int = 3
    speeds: str = SPEEDS
    stage: Sequence[float] = (1.0, 2.0, 3.0, 4.0, 5.0)
    misbehave: dict[str, Misbehaviour] = field(default_factory=dict)
    send_image: Callable[[ScriptedServer, int, int], Awaitable[None]] | None = None
    accepts_data: bool = True
    listens_for_data: bool = True
    calls: list[tuple[str, tuple[Value, ...]]] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    registered_ports: list[int] = field(default_factory=list)
    data_peer_port: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.control: asyncio.StreamWriter | None = None
        self.data: asyncio.StreamWriter | None = None
        self.image_task: asyncio.Task[None] | None = None
        self.bits_per_pixel = 8
        self.called: dict[str, asyncio.Event] = {}

    @property
    def names(self) -> list[str]:
        """Names of the commands received, in their order."""
        return [name for name, _ in self.calls]

    def settings(self, *, host: str = "127.0.0.1", **changes: Any) -> MicroscopeSettings:
        """Give settings that lead here, with short deadlines."""
        timeouts = Timeouts(connect_s=2.0, request_s=0.3, settle_s=1.0)
        values: dict[str, object] = {"timeouts": timeouts, **changes}
        return MicroscopeSettings.model_validate(
            {
                "host": host,
                "port": self.port,
                "limits": Limits(working_distance_mm=(4.0, 30.0)),
                **values,
            }
        )

    def event(self, name: str) -> asyncio.Event:
        """Give an event that is set when a command of this name has come."""
        return self.called.setdefault(name, asyncio.Event())

    # --- what a misbehaviour may use ---

    async def write(self, data: bytes) -> None:
        """Send raw bytes on the control connection."""
        assert self.control is not None
        self.control.write(data)
        with contextlib.suppress(OSError):
            await self.control.drain()

    async def write_data(self, data: bytes) -> None:
        """Send raw bytes on the data connection."""
        assert self.data is not None
        self.data.write(data)
        with contextlib.suppress(OSError):
            await self.data.drain()

    async def answer(self, request: Message) -> None:
        """Answer as a microscope in good health does."""
        body = self.body_for(request)
        if body is not None:
            await self.write(encode_message(request.answer(body)))

    def body_for(self, request: Message) -> bytes | None:
        """Give the healthy answer's body; ``None`` for none."""
        function = FUNCTIONS[request.name]
        if function.is_void:
            wanted = self.acknowledges and request.flags & Flag.SEND_RESPONSE
            return b"" if wanted else None
        return encode_body(self._values(request.name))

    # --- the microscope ---

    def _values(self, name: str) -> list[Value]:
        tells: dict[str, Callable[[], list[Value]]] = {
            "GetWD": lambda: [self.working_distance_mm],
            "TcpGetVersion": lambda: [self.version],
            "DtEnumDetectors": lambda: [DETECTORS],
            "ScEnumSpeeds": lambda: [self.speeds],
            "DtGetChannels": lambda: [self.channels],
            "DtGetSelected": lambda: [self.selected_detector],
            "GUIGetScanning": lambda: [self.gui_scanning],
            "IsBusy": lambda: [self._is_busy()],
            "ScScanXY": lambda: [self.scan_code],
            "StgGetPosition": lambda: list(self.stage),
            "HVGetVoltage": lambda: [5000.0],
            "GetViewField": lambda: [0.064],
            "HVGetBeam": lambda: [1],
            "GetBeamCurrent": lambda: [120.0],
            "TcpRegDataPort": lambda: [0],
        }
        return tells.get(name, lambda: [f"{name} of the script"])()

    def _is_busy(self) -> int:
        if self.calls[-1][1] == (int(Flag.WAIT_A),):
            return int(self.other_client_scans or self.gui_scanning > 0)
        self.busy_polls -= 1
        return int(self.busy_polls >= 0)

    def _carry_out(self, name: str, arguments: tuple[Value, ...]) -> None:
        match name, arguments:
            case "SetWD", (float(wanted),):
                self.moves.append(wanted)
                self.working_distance_mm = min(wanted, self.highest_mm)
            case "GUISetScanning", (int(on),):
                self.gui_scanning = on
            case "DtEnable", (_, 1, int(bits)):
                self.bits_per_pixel = bits
            case "DtSelect", (_, int(detector)):
                self.selected_detector = detector
            case "TcpRegDataPort", (int(port),):
                self.registered_ports.append(port)
            case "ScStopScan", _:
                if self.image_task is not None:
                    self.image_task.cancel()
            case _:
                return

    async def _on_request(self, request: Message) -> None:
        function = FUNCTIONS[request.name]
        # A server drops what it does not know without a word.
        if function.since > parse_version(self.version):
            self.calls.append((request.name, ()))
            return
        arguments = tuple(function.request.decode(request.body))
        self.calls.append((request.name, arguments))
        self._carry_out(request.name, arguments)
        misbehaviour = self.misbehave.get(request.name)
        if misbehaviour is None:
            await self.answer(request)
        else:
            await misbehaviour(self, request)
        if request.name == "ScScanXY" and self.scan_code == 0:
            self._start_image(arguments)
        self.event(request.name).set()

    def _start_image(self, arguments: tuple[Value, ...]) -> None:
        frame_id, _, _, left, top, right, bottom, *_ = (int(value) for value in arguments)
        pixels = (right - left + 1) * (bottom - top + 1)
        send = self.send_image or send_whole_image
        self.image_task = asyncio.ensure_future(send(self, frame_id, pixels))

    async def _serve_control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.control = writer
        stream = MessageStream(max_body_bytes=65_536)
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                stream.receive_data(data)
                while (message := stream.next_message()) is not NEED_DATA:
                    await self._on_request(message)
        writer.close()

    async def _serve_data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.data_peer_port = writer.get_extra_info("peername")[1]
        if self.accepts_data:
            self.data = writer
            with contextlib.suppress(OSError):
                await reader.read()
        writer.close()


async def send_whole_image(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Send an image that counts up, in three pieces."""
    size = server.bits_per_pixel // 8
    grey = bytes(index % 251 for index in range(pixels * size))
    third = pixels // 3
    for start, end in ((0, third), (third, 2 * third), (2 * third, pixels)):
        piece = ScanPiece(frame_id, 0, start, server.bits_per_pixel, grey[start * size : end * size])
        await server.write_data(piece.encode())


@asynccontextmanager
async def serving(server: ScriptedServer) -> AsyncIterator[ScriptedServer]:
    """Listen on two neighbouring ports for the length of a ``with`` block."""
    control, data = _neighbours()
    server.port = control.getsockname()[1]
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    def tracked(
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            tasks.add(asyncio.ensure_future(serve(reader, writer)))

        return accept

    listeners = [await asyncio.start_server(tracked(server._serve_control), sock=control)]
    if server.listens_for_data:
        listeners.append(await asyncio.start_server(tracked(server._serve_data), sock=data))
    else:
        data.close()
    try:
        yield server
    finally:
        for listener in listeners:
            listener.close()
        image_tasks = {server.image_task} if server.image_task is not None else set()
        for task in tasks | image_tasks:
            task.cancel()
        await asyncio.gather(*tasks, *image_tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def connected(server: ScriptedServer, **settings: Any) -> AsyncIterator[SharkSem]:
    """Serve and connect; forget what was asked while connecting."""
    async with serving(server), connect_sharksem(server.settings(**settings)) as microscope:
        server.calls.clear()
        yield microscope


def _neighbours() -> tuple[socket.socket, socket.socket]:
    for _ in range(100):
        control = socket.create_server(("127.0.0.1", 0))
        with contextlib.suppress(OSError, OverflowError):
            return control, socket.create_server(("127.0.0.1", control.getsockname()[1] + 1))
        control.close()
    raise OSError("no two neighbouring ports are free")


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection the hard way."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
