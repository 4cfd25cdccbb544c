"""Clients' new scans wait at the relay's gate, and nothing else does."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from structlog.testing import capture_logs

from focusd.microscope.interface import MicroscopeState
from focusd.protocol.sharksem_fold import ScanEnd
from focusd.sources.relay.events import (
    ClientMoved,
    ConditionsChanged,
    HoldExpiring,
    PlaceChanged,
    ScanEnded,
    ScanHeld,
    ScanReleased,
    ScanStarted,
    SessionClosed,
    WorkingDistanceRead,
)
from focusd.sources.relay.frames import RelayedFrame
from tests.loopback.plain_client import A, PlainClient
from tests.loopback.relay_rig import Relayed, recording, relayed_rig, send_in_background
from tests.loopback.sharksem_rig import server

SIDE = 64
SCAN = (SIDE, SIDE, 0, 0, SIDE - 1, SIDE - 1, 1, 1000)


async def test_a_scan_waits_until_the_gate_opens() -> None:
    """The held scan has not reached the microscope; what comes behind it keeps its order."""
    rig = server()

    def begin(port: int) -> PlainClient:
        client = PlainClient(port)
        client.send("DtEnable", 0, 1)
        client.number("GetWD")
        return client

    def go_on(client: PlainClient) -> None:
        client.send("ScScanXY", 1, *SCAN)
        client.send("SetWD", 9.5)
        client.send("GetWD")

    def end(client: PlainClient) -> None:
        with client:
            assert client.answer("i") == [0]
            assert client.answer("f") == [9.5]
            client.fetch([0], SIDE * SIDE)

    async with relayed_rig(rig) as relayed:
        client = await asyncio.to_thread(begin, relayed.relay.port)
        with relayed.gate.closed("refocus"):
            await asyncio.to_thread(go_on, client)
            await relayed.until(lambda: bool(relayed.of(ScanHeld)))
            with PlainClient(relayed.relay.port, data=False) as other:
                assert await asyncio.to_thread(other.number, "GetWD") == 9.0
            assert not relayed.relay.is_scanning
            assert not rig.instrument.scan.active
            assert not rig.column.moves
        await asyncio.to_thread(end, client)

    assert relayed.of(ScanHeld) == [ScanHeld(1, "ScScanXY", "refocus")]
    [released] = relayed.of(ScanReleased)
    assert (released.timed_out, released.held_s > 0) == (False, True)
    counters = relayed.relay.counters
    assert (counters.scans, counters.scans_held, counters.holds_timed_out) == (1, 1, 0)


async def test_a_hold_is_bounded_and_logged() -> None:
    """Behind a gate that stays closed a scan starts after ``max_hold_s``, lines as well as fields."""

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("DtEnable", 0, 1)
            assert client.scan(1, SIDE, SIDE) == 0
            client.fetch([0], SIDE * SIDE)
            client.send("ScStopScan")
            assert client.whole("ScScanLine", 0, 99, 99, 0, 0, 98, 98, 1000, 99, 1) == 0

    with capture_logs() as events:
        async with relayed_rig(server(), max_hold_s=0.05) as relayed:
            relayed.gate.close("refocus")
            await asyncio.to_thread(scene, relayed.relay.port)

    assert [(event.command, event.timed_out) for event in relayed.of(ScanReleased)] == [
        ("ScScanXY", True),
        ("ScScanLine", True),
    ]
    assert all(event.held_s >= 0.04 for event in relayed.of(ScanReleased))
    timed_out = [event for event in events if event["event"] == "relay_hold_timed_out"]
    assert [event["log_level"] for event in timed_out] == ["warning", "warning"]


async def test_the_owner_is_told_before_a_hold_ends() -> None:
    """Whoever opens the gate on that notice has it open in time, and nothing has timed out."""

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("DtEnable", 0, 1)
            assert client.scan(1, SIDE, SIDE) == 0

    async with relayed_rig(server(), max_hold_s=2.0, notice_s=5.0) as relayed:
        relayed.gate.close("refocus")
        playing = asyncio.create_task(asyncio.to_thread(scene, relayed.relay.port))
        await relayed.relay.wait_held()
        await relayed.until(lambda: bool(relayed.of(HoldExpiring)))
        assert relayed.relay.is_holding
        relayed.gate.open("refocus")
        await playing

    assert relayed.of(HoldExpiring) == [HoldExpiring(1, "ScScanXY", 1.0)]
    assert [event.timed_out for event in relayed.of(ScanReleased)] == [False]


async def test_waiting_for_a_held_scan_ends_with_the_last_client() -> None:
    """Nobody is left to wait for."""
    async with relayed_rig(server()) as relayed:
        relayed.gate.close("refocus")
        client = await asyncio.to_thread(PlainClient, relayed.relay.port)
        waiting = asyncio.create_task(relayed.relay.wait_held())
        await asyncio.sleep(0)
        assert not waiting.done()
        client.close()
        await asyncio.wait_for(waiting, 5)


async def test_a_session_that_dies_while_held_is_dropped() -> None:
    """Neither the held scan nor what was behind it is carried out, and the gate may open later."""
    rig = server()

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("ScScanXY", 1, *SCAN)
            client.send("SetWD", 9.5)

    async with relayed_rig(rig) as relayed:
        with relayed.gate.closed("refocus"):
            await asyncio.to_thread(scene, relayed.relay.port)
            await relayed.until(lambda: bool(relayed.of(SessionClosed)))
        with PlainClient(relayed.relay.port, data=False) as other:
            assert await asyncio.to_thread(other.number, "GetWD") == 9.0

    assert relayed.of(ScanReleased) == []
    assert not rig.column.moves


async def test_a_heap_behind_a_held_scan_is_bounded() -> None:
    """The client is not read any further when enough waits; afterwards everything arrives in order."""
    unknown = struct.pack("<16sIIHHI", b"NobodyKnows", 60_000, 0, 0, 0, 0) + bytes(60_000)

    def scene(relayed: Relayed) -> None:
        with PlainClient(relayed.relay.port, data=False) as client:
            client.control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.send("ScScanXY", 1, *SCAN)
            sending = send_in_background(client.control, [unknown] * 100)
            sending.join(0.3)
            assert sending.is_alive()
            [session] = relayed.relay._sessions
            assert session._up._backlog_bytes < 1 << 19
            loop.call_soon_threadsafe(relayed.gate.open, "refocus")
            sending.join()
            client.send("GetWD")
            assert client.answer("i") == [0]
            assert client.answer("f") == [9.0]

    loop = asyncio.get_running_loop()
    async with relayed_rig(server()) as relayed:
        relayed.gate.close("refocus")
        await asyncio.to_thread(scene, relayed)


async def test_a_running_scan_is_never_touched() -> None:
    """A gate that closes in mid-frame stops nothing; the relay is idle when the frame is over."""
    rig = server(time_scale=2.0)

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("DtEnable", 0, 1)
            assert client.scan(1, 512, 512) == 0
            client.piece()
            loop.call_soon_threadsafe(relayed.gate.close, "refocus")
            pixels = client.pieces[0][4]
            while len(pixels) < 512 * 512:
                pixels += client.piece()[4]

    loop = asyncio.get_running_loop()
    async with relayed_rig(rig) as relayed:
        playing = asyncio.create_task(asyncio.to_thread(scene, relayed.relay.port))
        await relayed.until(lambda: bool(relayed.of(ScanStarted)))
        assert relayed.relay.is_scanning
        await relayed.relay.wait_idle()
        assert len(relayed.frames) == 1
        await playing

    assert [event.how for event in relayed.of(ScanEnded)] == [ScanEnd.COMPLETE]


async def test_half_a_request_to_scan_does_not_slip_through_the_gate() -> None:
    """A header that came before the gate closed waits with its body."""

    def scene(port: int, upstream_got: list[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            upstream.accept_control()
            client.sendall(struct.pack("<16sIIHHI", b"ScScanXY", 32, 0, 0, 0, 0))
            loop.call_soon_threadsafe(relayed.gate.close, "refocus")
            client.sendall(struct.pack("<8I", 1, 64, 64, 0, 0, 63, 63, 1))
            asyncio.run_coroutine_threadsafe(relayed.until(lambda: bool(relayed.of(ScanHeld))), loop).result()
            upstream.control.settimeout(0.1)
            with suppress(TimeoutError):
                upstream_got.append(upstream.control.recv(100))
            loop.call_soon_threadsafe(relayed.gate.open, "refocus")
            upstream.control.settimeout(5)
            upstream_got.append(upstream.control.recv(100))

    got: list[bytes] = []
    loop = asyncio.get_running_loop()
    async with recording() as (relayed, upstream):
        await asyncio.to_thread(scene, relayed.relay.port, got)

    assert [len(data) for data in got] == [64]


async def test_a_gate_closed_with_a_frame_holds_the_very_next_scan() -> None:
    """Whoever takes a frame may close the gate before the client can have asked for more."""

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("DtEnable", 0, 1)
            for frame_id in range(1, 6):
                assert client.scan(frame_id, SIDE, SIDE) == 0
                client.fetch([0], SIDE * SIDE)
                client.send("ScStopScan")

    def judge(frame: RelayedFrame) -> None:
        relayed.take_frame(frame)
        relayed.gate.close("judging")
        loop.call_later(0.1, relayed.gate.open, "judging")

    loop = asyncio.get_running_loop()
    async with relayed_rig(server()) as relayed:
        relayed.relay._on_frame = judge
        await asyncio.to_thread(scene, relayed.relay.port)

    assert len(relayed.of(ScanHeld)) == 4


async def test_scans_are_followed_to_their_end() -> None:
    """Complete, refused, stopped, and over with the client: each is told, and idle comes after."""

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("DtEnable", 0, 1)
            assert client.scan(1, SIDE, SIDE) == 0
            client.fetch([0], SIDE * SIDE)
            client.send("ScStopScan")
            assert client.scan(2, SIDE, SIDE, frames=0) == 0
            assert client.scan(3, SIDE, SIDE) == -1
            client.send("ScStopScan")
            client.number("GetWD")
            assert client.scan(4, SIDE, SIDE, frames=0) == 0

    async with relayed_rig(server()) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)
        await relayed.relay.wait_idle()

    assert [(event.order.frame_id, event.how) for event in relayed.of(ScanEnded)] == [
        (1, ScanEnd.COMPLETE),
        (3, ScanEnd.REFUSED),
        (2, ScanEnd.STOPPED),
        (4, ScanEnd.CLOSED),
    ]
    assert [event.order.frame_id for event in relayed.of(ScanStarted)] == [1, 2, 3, 4]


async def test_a_stop_that_waits_for_the_frame_stops_nothing() -> None:
    """With the wait flag for the scan the stop comes after it, so the scan still runs."""

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("DtEnable", 0, 1)
            client.wait_conditions = A
            assert client.scan(1, 256, 256) == 0
            client.send("ScStopScan")
            client.fetch([0], 256 * 256)
            client.number("GetWD")

    async with relayed_rig(server(time_scale=2.0)) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)

    assert [event.how for event in relayed.of(ScanEnded)] == [ScanEnd.COMPLETE]


async def test_what_clients_change_is_told() -> None:
    """Moves of the lens and the stage, settings and readings are events of their client."""

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("SetWD", 9.25)
            client.number("GetWD")
            client.send("AutoWD", 0)
            client.send("SetViewField", 0.1)
            client.send("HVSetVoltage", 10_000.0, 1)
            client.send("ScSetSpeed", 2)
            client.send("AutoNobodyKnows", 5)
            client.send("StgMoveTo", 1.0)
            client.number("GetViewField")

    async with relayed_rig(server()) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)

    assert relayed.of(ClientMoved) == [ClientMoved(1, "SetWD", 9.25), ClientMoved(1, "AutoWD", None)]
    # Opening a PlainClient reads the working distance once.
    assert relayed.of(WorkingDistanceRead) == [WorkingDistanceRead(1, 9.0), WorkingDistanceRead(1, 9.25)]
    assert [event.command for event in relayed.of(ConditionsChanged)] == [
        "SetViewField",
        "HVSetVoltage",
        "ScSetSpeed",
        "AutoNobodyKnows",
    ]
    assert relayed.of(PlaceChanged) == [PlaceChanged(1, "StgMoveTo")]


async def test_the_owner_s_own_reading_labels_frames() -> None:
    """What focusd reads through its own session is known of the clients' frames."""

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            client.send("DtEnable", 0, 1)
            client.send("SetWD", 9.1)
            client.whole("GUIGetScanning")
            asyncio.run_coroutine_threadsafe(learn(), loop).result()
            assert client.scan(1, SIDE, SIDE) == 0
            client.fetch([0], SIDE * SIDE)

    async def learn() -> None:
        relayed.relay.learn(MicroscopeState(9.1, field_of_view_um=128.0, accelerating_voltage_kv=5.0))

    loop = asyncio.get_running_loop()
    async with relayed_rig(server()) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)

    [frame] = relayed.frames
    assert frame.frame.working_distance_mm == 9.1
    assert frame.frame.conditions.pixel_size_nm == 2000.0
    assert frame.frame.conditions.accelerating_voltage_kv == 5.0
