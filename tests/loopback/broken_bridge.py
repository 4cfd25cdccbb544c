"""A bridge that breaks a rule: the simulated one, with a go-between that spoils what passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from focusd.simulator.bridge_instrument import CAPABILITIES
from focusd.simulator.bridge_server import BridgeServer
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from tests.loopback.sharksem_rig import specimen

Json: TypeAlias = dict[str, Any]


def framed(header: object, payload: bytes = b"") -> bytes:
    """Give a message; not-a-number is allowed."""
    data = json.dumps(header).encode()
    return struct.pack(">I", len(data)) + data + payload


@dataclass
class Exchange:
    """A request and the healthy answer to it, which a fault may change."""

    request: Json
    answer: Json
    payload: bytes

    @property
    def method(self) -> str:
        """What was asked."""
        return str(self.request["method"])

    @property
    def result(self) -> Json:
        """The result, to be changed in place; empty for an error."""
        result: Json = self.answer.setdefault("result", {})
        return result


@dataclass
class Habits:
    """What is wrong with a bridge; the defaults are one in good health.

    ``spoil_request`` changes a request before it is carried out; ``spoil`` gives the bytes of an answer.
    """

    spoil_request: Callable[[Json], Json] = lambda request: request
    spoil: Callable[[Exchange], bytes] = lambda each: framed(each.answer, each.payload)
    answers_before: Callable[[Json], bytes | None] = lambda _: None
    hangs_on_garbage: bool = False
    hangs_up_on_garbage: bool = False
    likes_garbage: bool = False
    dies_of_garbage: bool = False
    dies_of_a_cut: bool = False
    reads_whole_messages_only: bool = False
    forgets_what_came_along: bool = False
    faults: Faults = field(default_factory=Faults)
    capabilities: tuple[str, ...] = CAPABILITIES


class BrokenBridge:
    """The go-between; made by ``broken``."""

    def __init__(self, habits: Habits, server: BridgeServer) -> None:
        self.habits = habits
        self.server = server
        self.dead = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        if self.dead:
            writer.transport.abort()
            return
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            await self._pass_on(reader, writer, upstream_reader, upstream)
        except asyncio.IncompleteReadError as error:
            self.dead = self.habits.dies_of_a_cut and bool(error.partial)
        except OSError:
            self.dead = self.habits.dies_of_a_cut
        finally:
            upstream.transport.abort()
            writer.close()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        while True:
            request = _request(await self._request_bytes(reader))
            if request is None:
                await self._on_garbage(writer)
                return
            early = self.habits.answers_before(request)
            if early is not None:
                writer.write(early)
                continue
            upstream.write(framed(self.habits.spoil_request(request)))
            answer, payload = await self._answer(upstream_reader)
            writer.write(self.habits.spoil(Exchange(request, answer, payload)))
            await writer.drain()

    async def _request_bytes(self, reader: asyncio.StreamReader) -> bytes:
        habits = self.habits
        if habits.reads_whole_messages_only:
            segment = await reader.read(65_536)
            if not segment:
                raise asyncio.IncompleteReadError(b"", 4)
            return segment[4:]
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        if length > 65_536:
            return b""
        data = await reader.readexactly(length)
        if habits.forgets_what_came_along:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await reader.read(65_536)
        return data

    async def _on_garbage(self, writer: asyncio.StreamWriter) -> None:
        self.dead = self.habits.dies_of_garbage
        if self.habits.hangs_on_garbage:
            await asyncio.Event().wait()
        if self.habits.hangs_up_on_garbage:
            return
        if self.habits.likes_garbage:
            writer.write(framed({"jsonrpc": "2.0", "id": 0, "result": {}}))
            return
        writer.write(framed({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "?"}}))

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[Json, bytes]:
        while True:
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            header: Json = json.loads(await reader.readexactly(length))
            payload = await reader.readexactly((header.get("result") or {}).get("payload_bytes", 0))
            if "method" not in header:
                return header, payload


def _request(data: bytes) -> Json | None:
    with contextlib.suppress(ValueError):
        request = json.loads(data)
        if isinstance(request, dict) and "id" in request:
            return request
    return None


@asynccontextmanager
async def broken(habits: Habits) -> AsyncIterator[tuple[BrokenBridge, int]]:
    """Serve for the length of a ``with`` block; give the go-between and its port."""
    column = SimulatedColumn(None, specimen())
    tasks: set[asyncio.Task[None]] = set()
    async with BridgeServer(
        column, time_scale=0, faults=habits.faults, capabilities=habits.capabilities
    ) as server:
        bridge = BrokenBridge(habits, server)
        listener = await asyncio.start_server(tracked(tasks, bridge.serve), "127.0.0.1", 0)
        try:
            yield bridge, listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)


def tracked(
    tasks: set[asyncio.Task[None]],
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """Keep the tasks of connections, so that they can be ended."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await serve(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(run(reader, writer)))

    return accept
