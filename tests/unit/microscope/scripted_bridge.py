"""A bridge of a few lines that does as a test tells it, down to single bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from focusd.config import Limits, MicroscopeSettings, Timeouts
from focusd.microscope.bridge import Bridge, connect_bridge

Json: TypeAlias = dict[str, Any]
Misbehaviour: TypeAlias = Callable[["ScriptedBridge", Json], Awaitable[None]]


def framed(header: object, payload: bytes = b"") -> bytes:
    """Give a message as another program would write it; not-a-number is allowed."""
    data = json.dumps(header).encode()
    return struct.pack(">I", len(data)) + data + payload


@dataclass
class ScriptedBridge:
    """What the instrument is, what it was asked, and how it misbehaves.

    ``misbehave`` replaces the answer to a method; ``refuse`` answers one with an error code.
    """

    working_distance_mm: float = 9.0
    limits_mm: Any = (4.0, 30.0)
    protocol: Any = 1
    capabilities: tuple[str, ...] = ()
    dtype: str = "uint8"
    highest_mm: float = 50.0
    clock_ahead_s: float = 1000.0
    refuse: dict[str, int] = field(default_factory=dict)
    misbehave: dict[str, Misbehaviour] = field(default_factory=dict)
    state: Json = field(default_factory=dict)
    calls: list[tuple[str, Json]] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.called: dict[str, asyncio.Event] = {}

    @property
    def names(self) -> list[str]:
        """Names of the methods asked for, in their order."""
        return [name for name, _ in self.calls]

    def settings(self, **changes: Any) -> MicroscopeSettings:
        """Give settings that lead here, with short deadlines."""
        values: Json = {
            "driver": "bridge",
            "port": self.port,
            "limits": Limits(working_distance_mm=(4.0, 30.0)),
            "timeouts": Timeouts(connect_s=2.0, request_s=0.3, settle_s=0.3),
        }
        return MicroscopeSettings.model_validate(values | changes)

    def event(self, method: str) -> asyncio.Event:
        """Give an event that is set when this method has been asked for."""
        return self.called.setdefault(method, asyncio.Event())

    # --- what a misbehaviour may use ---

    async def write(self, data: bytes) -> None:
        """Send raw bytes."""
        assert self.writer is not None
        self.writer.write(data)
        with contextlib.suppress(OSError):
            await self.writer.drain()

    async def answer(self, request: Json, **changes: Any) -> None:
        """Answer as a bridge in good health does, some values of the result replaced."""
        await self.write(self.healthy(request, **changes))

    def healthy(self, request: Json, **changes: Any) -> bytes:
        """Give the healthy answer's bytes."""
        result, payload = self._results(request["method"], request.get("params", {}))
        return framed({"jsonrpc": "2.0", "id": request["id"], "result": {**result, **changes}}, payload)

    def now(self) -> float:
        """The bridge's own clock."""
        return time.monotonic() + self.clock_ahead_s

    # --- the instrument ---

    def _results(self, method: str, params: Json) -> tuple[Json, bytes]:
        match method:
            case "hello":
                limits = {"working_distance_mm": self.limits_mm}
                told = {"vendor": "ACME", "model": "Eye", "serial": "7", "capabilities": self.capabilities}
                return {"protocol": self.protocol, "limits": limits, **told}, b""
            case "get_state":
                return self.column(), b""
            case "set_working_distance":
                return {"working_distance_mm": self.working_distance_mm}, b""
            case "scan":
                return self._image(params)
            case _:
                return {}, b""

    def column(self) -> Json:
        """Give the state."""
        return {
            "working_distance_mm": self.working_distance_mm,
            "field_of_view_um": 12.8,
            "detector": "SE",
            "accelerating_voltage_kv": 5.0,
            **self.state,
        }

    def _image(self, params: Json) -> tuple[Json, bytes]:
        part = params.get("region", params)
        size = 2 if self.dtype == "uint16" else 1
        pixels = bytes(index % 251 for index in range(part["width"] * part["height"] * size))
        now = self.now()
        info = {
            "shape": [part["height"], part["width"]],
            "dtype": self.dtype,
            "started_at": now,
            "finished_at": now,
            "state": self.column(),
            "payload_bytes": len(pixels),
        }
        return info, pixels

    async def _on_request(self, request: Json) -> None:
        method, params = request["method"], request.get("params", {})
        self.calls.append((method, params))
        code = self.refuse.get(method)
        if method == "set_working_distance" and code is None:
            self.moves.append(params["working_distance_mm"])
            self.working_distance_mm = min(self.moves[-1], self.highest_mm)
        misbehaviour = self.misbehave.get(method)
        if misbehaviour is not None:
            await misbehaviour(self, request)
        elif code is not None:
            error = {"code": code, "message": f"{method} is not to be had"}
            await self.write(framed({"jsonrpc": "2.0", "id": request["id"], "error": error}))
        else:
            await self.answer(request)
        self.event(method).set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.writer = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                await self._on_request(json.loads(await reader.readexactly(length)))
        writer.close()


@asynccontextmanager
async def serving(bridge: ScriptedBridge) -> AsyncIterator[ScriptedBridge]:
    """Listen for the length of a ``with`` block."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.add(asyncio.ensure_future(bridge.serve(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    bridge.port = listener.sockets[0].getsockname()[1]
    try:
        yield bridge
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def connected(bridge: ScriptedBridge, **settings: Any) -> AsyncIterator[Bridge]:
    """Serve and connect; forget what was asked while connecting."""
    async with serving(bridge), connect_bridge(bridge.settings(**settings)) as microscope:
        bridge.calls.clear()
        yield microscope


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection the hard way."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
