"""Peers of the relay that vanish without a word, as a computer does that loses its power or its network."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
import time

import pytest

from focusd.microscope import tcp
from focusd.sources.relay.events import ScanHeld, ScanReleased, SessionClosed
from tests.loopback.plain_client import PlainClient, is_closed
from tests.loopback.relay_rig import RecordingServer, Relayed, recording, relayed_rig
from tests.loopback.sharksem_rig import server

SIDE_PX = 512
QUICK = (
    ("TCP_NODELAY", 1),
    ("TCP_KEEPIDLE", 1),
    ("TCP_KEEPINTVL", 1),
    ("TCP_KEEPCNT", 2),
    ("TCP_USER_TIMEOUT", 1500),
)
"""The options of every connection, with less patience."""
SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A packet filter of one instruction: keep nothing."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a socket go deaf")


def vanish(*connections: socket.socket | None) -> None:
    """Let a socket neither hear nor acknowledge anything; the other side sees its host vanish."""
    program = ctypes.create_string_buffer(DROP_ALL, len(DROP_ALL))
    for connection in connections:
        assert connection is not None
        connection.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program))
        )


async def test_dead_peers_are_looked_for() -> None:
    """Client's and microscope's side alike ask after 5 s, and give up within 11; both send at once."""
    async with relayed_rig(server()) as relayed:
        client = await asyncio.to_thread(PlainClient, relayed.relay.port)
        [session] = relayed.relay._sessions
        [path] = session._paths._paths
        assert path._client is not None
        for sock in (session._client.socket, session._upstream.socket, path._client, path._upstream):
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for option, value in (
                (socket.TCP_KEEPIDLE, 5),
                (socket.TCP_KEEPINTVL, 2),
                (socket.TCP_KEEPCNT, 3),
                (socket.TCP_USER_TIMEOUT, 10_000),
            ):
                assert sock.getsockopt(socket.IPPROTO_TCP, option) == value
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.close()


async def test_clients_that_vanish_lose_their_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asleep, held at the gate or in mid-frame: their sessions at the microscope end, a neighbour's stays."""
    monkeypatch.setattr(tcp, "_SOL_TCP_OPTIONS", QUICK)
    rig = server(time_scale=2.0)

    def begin(port: int) -> list[PlainClient]:
        clients = [PlainClient(port) for _ in range(4)]
        scanning = clients[1]
        scanning.send("DtEnable", 0, 1, 16)
        assert scanning.scan(1, SIDE_PX, SIDE_PX, frames=0) == 0
        scanning.piece()
        return clients

    def hold(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1, 8)
        client.send("ScScanXY", 2, 64, 64, 0, 0, 63, 63, 1)
        client.send("SetWD", 9.5)

    async with relayed_rig(rig) as relayed:
        clients = await asyncio.to_thread(begin, relayed.relay.port)
        relayed.gate.close("refocus")
        hold(clients[2])
        await relayed.until(lambda: bool(relayed.of(ScanHeld)))
        for client in clients[:3]:
            vanish(client.control, client.data)
        await relayed.until(lambda: len(relayed.of(SessionClosed)) == 3)
        held, scanning = relayed.relay.is_holding, relayed.relay.is_scanning
        relayed.gate.open("refocus")
        working_distance_mm = await asyncio.to_thread(clients[3].number, "GetWD")
        left = len(rig.sessions)
        for client in clients:
            client.close()

    assert sorted(event.session for event in relayed.of(SessionClosed)[:3]) == [1, 2, 3]
    assert (held, scanning, left) == (False, False, 1)
    assert relayed.of(ScanReleased) == []
    # What was behind the held scan was dropped with it.
    assert working_distance_mm == 9.0


async def test_a_microscope_that_vanishes_closes_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that would wait for ever for its answer is closed instead."""
    monkeypatch.setattr(tcp, "_SOL_TCP_OPTIONS", QUICK)

    def scene(relayed: Relayed, upstream: RecordingServer) -> float:
        with socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=10) as client:
            upstream.accept_control()
            vanish(upstream.control)
            client.sendall(struct.pack("<16sIIHHI", b"GetWD", 0, 0, 0, 0, 0))
            since_s = time.monotonic()
            assert is_closed(client)
            return time.monotonic() - since_s

    async with recording() as (relayed, upstream):
        took_s = await asyncio.to_thread(scene, relayed, upstream)

    assert 1.0 < took_s < 8.0
    assert [event.reason.startswith("microscope lost") for event in relayed.of(SessionClosed)] == [True]
