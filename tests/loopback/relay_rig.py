"""A relay in front of a simulated microscope, or of a server that only records."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.sources.relay.events import RelayEvent
from focusd.sources.relay.frames import RelayedFrame
from focusd.sources.relay.gate import ScanGate
from focusd.sources.relay.server import Relay
from focusd.sources.relay.shared import RelayOptions

Event = TypeVar("Event")


class Relayed:
    """A running relay with all that it has handed over."""

    def __init__(self, upstream_port: int, **options: Any) -> None:
        self.frames: list[RelayedFrame] = []
        self.events: list[RelayEvent] = []
        self.gate = ScanGate()
        self.changed = asyncio.Event()
        self.relay = Relay(
            RelayOptions("127.0.0.1", upstream_port, **{"linger_s": 1.0} | options),
            on_frame=self.take_frame,
            on_event=self.take_event,
            gate=self.gate,
        )

    def take_frame(self, frame: RelayedFrame) -> None:
        """Keep a frame."""
        self.frames.append(frame)
        self.changed.set()

    def take_event(self, event: RelayEvent) -> None:
        """Keep an event."""
        self.events.append(event)
        self.changed.set()

    def of(self, kind: type[Event]) -> list[Event]:
        """Give the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has come about."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def relaying(upstream_port: int, **options: Any) -> AsyncIterator[Relayed]:
    """Run a relay to a port of this computer."""
    relayed = Relayed(upstream_port, **options)
    async with relayed.relay:
        yield relayed


@asynccontextmanager
async def relayed_rig(rig: SharkSEMServer, **options: Any) -> AsyncIterator[Relayed]:
    """Run a simulated microscope with a relay in front."""
    async with rig, relaying(rig.port, **options) as relayed:
        yield relayed


class RecordingServer:
    """Accepts one control and one image connection, and does nothing unless told; in blocking calls."""

    def __init__(self) -> None:
        self.listeners = _two_neighbours()
        self.port: int = self.listeners[0].getsockname()[1]
        self.control = socket.socket()
        self.data = socket.socket()

    def accept_control(self) -> None:
        """Wait for the control connection."""
        self.control.close()
        self.control, _ = self.listeners[0].accept()
        self.control.settimeout(5)

    def accept_data(self) -> int:
        """Wait for the image connection; give the port it comes from."""
        self.data.close()
        self.data, address = self.listeners[1].accept()
        self.data.settimeout(5)
        return int(address[1])

    def close(self) -> None:
        """Close everything."""
        for each in (self.control, self.data, *self.listeners):
            each.close()


def _two_neighbours() -> tuple[socket.socket, socket.socket]:
    while True:
        control = socket.create_server(("127.0.0.1", 0))
        try:
            data = socket.create_server(("127.0.0.1", control.getsockname()[1] + 1))
        except OSError:
            control.close()
            continue
        control.settimeout(5)
        data.settimeout(5)
        return control, data


@asynccontextmanager
async def recording(**options: Any) -> AsyncIterator[tuple[Relayed, RecordingServer]]:
    """Run a relay to a recording server."""
    server = RecordingServer()
    try:
        async with relaying(server.port, **options) as relayed:
            yield relayed, server
    finally:
        server.close()


def send_in_background(connection: socket.socket, segments: list[bytes]) -> threading.Thread:
    """Send from a thread, so that whoever reads can read meanwhile."""

    def send() -> None:
        for segment in segments:
            connection.sendall(segment)

    thread = threading.Thread(target=send)
    thread.start()
    return thread
