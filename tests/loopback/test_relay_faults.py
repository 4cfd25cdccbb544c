"""The relay when something goes wrong: on either side, or in what looks on."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from focusd.protocol.sharksem_fold import ScanFolder
from focusd.sources.relay import data, frames
from focusd.sources.relay.events import RelayEvent, SessionClosed, SessionOpened
from focusd.sources.relay.frames import FrameQueue, RelayedFrame
from focusd.sources.relay.server import Relay
from focusd.sources.relay.session import RelaySession
from focusd.sources.relay.shared import RelayOptions
from focusd.sources.relay.watch import SessionWatch
from tests.loopback.plain_client import HEADER, PlainClient, is_closed, read
from tests.loopback.relay_rig import RecordingServer, Relayed, recording, relayed_rig, relaying
from tests.loopback.sharksem_rig import server

SIDE = 64
TILES = 10


def take_tiles(client: PlainClient, count: int) -> list[bytes]:
    """Take a few frames as an acquisition script does."""
    client.send("DtEnable", 0, 1)
    tiles = []
    for frame_id in range(1, count + 1):
        assert client.scan(frame_id, SIDE, SIDE) == 0
        tiles += client.fetch([0], SIDE * SIDE)
        client.send("ScStopScan")
        client.number("GetWD")
    return tiles


def failing(error: Exception) -> Callable[..., Any]:
    """Give a function that always fails."""

    def fail(*_arguments: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("owner", "method", "what"),
    [
        (ScanFolder, "target", "folding"),
        (ScanFolder, "commit", "folding"),
        (SessionWatch, "request", "watching"),
        (SessionWatch, "answer", "watching"),
    ],
)
async def test_bytes_flow_whatever_happens_to_the_onlookers(
    owner: type, method: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folding or reading along fails: it is logged once, and the client gets every byte."""
    monkeypatch.setattr(owner, method, failing(RuntimeError("a bug")))

    with capture_logs() as events:
        async with relayed_rig(server()) as relayed:

            def scene() -> list[bytes]:
                with PlainClient(relayed.relay.port) as client:
                    return take_tiles(client, 3)

            tiles = await asyncio.to_thread(scene)

    assert len(tiles) == 3
    failures = [event for event in events if event["event"] == "relay_onlooker_failed"]
    assert [(event["what"], event["error"]) for event in failures] == [(what, "RuntimeError: a bug")]


async def test_who_does_not_read_along_does_not_call_it_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session nobody could follow counts as scanning until it ends, so nothing is done to its scan."""
    monkeypatch.setattr(SessionWatch, "request", failing(RuntimeError("a bug")))

    async with relayed_rig(server()) as relayed:
        client = await asyncio.to_thread(PlainClient, relayed.relay.port)
        assert relayed.relay.is_scanning
        client.close()
        await relayed.relay.wait_idle()


async def test_a_fault_in_one_session_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug closes the client it hits, and is logged; who was there before goes on."""

    def broken(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            assert is_closed(connection)

    with capture_logs() as events:
        async with relayed_rig(server()) as relayed:
            client = await asyncio.to_thread(PlainClient, relayed.relay.port)
            monkeypatch.setattr(RelaySession, "_serve", failing(RuntimeError("a bug")))
            await asyncio.to_thread(broken, relayed.relay.port)
            assert await asyncio.to_thread(client.number, "GetWD") == 9.0
            client.close()

    assert len([event for event in events if event["event"] == "relay_session_failed"]) == 1


async def test_garbage_on_the_image_connection_ends_folding_only() -> None:
    """Bytes that are no message reach the client as they are."""

    def scene(relayed: Relayed, upstream: RecordingServer) -> None:
        with socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=5):
            upstream.accept_control()
            with socket.create_connection(("127.0.0.1", relayed.relay.port + 1), timeout=5) as data:
                upstream.accept_data()
                upstream.data.sendall(b"\xff" * 5000)
                assert read(data, 5000) == b"\xff" * 5000
                upstream.data.sendall(b"more")
                assert read(data, 4) == b"more"

    with capture_logs() as events:
        async with recording() as (relayed, upstream):
            await asyncio.to_thread(scene, relayed, upstream)

    assert len([event for event in events if event["event"] == "relay_onlooker_failed"]) == 1


async def test_an_owner_that_raises_is_logged_once() -> None:
    """Neither frames nor events that nobody takes disturb the client."""

    def no(_: RelayedFrame | RelayEvent) -> None:
        raise ValueError("not now")

    def scene(port: int) -> list[bytes]:
        with PlainClient(port) as client:
            return take_tiles(client, 3)

    with capture_logs() as events:
        async with (
            server() as rig,
            Relay(RelayOptions("127.0.0.1", rig.port), on_frame=no, on_event=no) as relay,
        ):
            assert len(await asyncio.to_thread(scene, relay.port)) == 3

    assert relay.counters.frames == 3
    failures = [event["what"] for event in events if event["event"] == "relay_onlooker_failed"]
    assert sorted(failures) == ["on_event", "on_frame"]


async def test_a_slow_judge_loses_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The microscope's stream waits for it, as for a client that reads slowly."""
    monkeypatch.setattr(frames, "AT_ONCE_BYTES", 0)
    queue, judged = FrameQueue(2), []

    async def judge() -> None:
        while True:
            judged.append((await queue.get()).order.frame_id)
            await asyncio.sleep(0.05)

    def scene(port: int) -> None:
        with PlainClient(port) as client:
            take_tiles(client, TILES)

    async with (
        server() as rig,
        Relay(
            RelayOptions("127.0.0.1", rig.port), on_frame=queue.put, is_behind=lambda: queue.is_full
        ) as relay,
    ):
        judging = asyncio.create_task(judge())
        await asyncio.to_thread(scene, relay.port)
        async with asyncio.timeout(10):
            while len(judged) < TILES:
                await asyncio.sleep(0.01)
        judging.cancel()

    assert judged == list(range(1, TILES + 1))
    assert queue.dropped == 0


async def test_a_judge_that_is_stuck_loses_the_oldest_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some patience the bytes flow on; what waits is the newest, and the others are counted."""
    monkeypatch.setattr(data, "LONGEST_REST_S", 0.1)
    monkeypatch.setattr(frames, "AT_ONCE_BYTES", 0)
    queue = FrameQueue(2)

    def scene(port: int) -> int:
        with PlainClient(port) as client:
            return len(take_tiles(client, TILES))

    async with (
        server() as rig,
        Relay(
            RelayOptions("127.0.0.1", rig.port), on_frame=queue.put, is_behind=lambda: queue.is_full
        ) as relay,
    ):
        assert await asyncio.to_thread(scene, relay.port) == TILES

    assert [(await queue.get()).order.frame_id for _ in range(2)] == [TILES - 1, TILES]
    assert queue.dropped == TILES - 2


async def test_a_microscope_that_is_not_there_closes_the_client() -> None:
    """The client sees what it would see of a SEM that is being started again; later ones get through."""
    async with server() as rig:
        port = rig.port
    async with relaying(port) as relayed:
        for _ in range(2):
            connection = socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=5)
            assert await asyncio.to_thread(is_closed, connection)
            connection.close()
        assert relayed.of(SessionOpened) == []


async def test_a_microscope_that_breaks_off_closes_its_clients() -> None:
    """Both connections of every client are closed, in the middle of a frame too, and a new one is served."""
    rig = server(time_scale=2.0)

    def begin(port: int) -> PlainClient:
        client = PlainClient(port)
        client.send("DtEnable", 0, 1)
        assert client.scan(1, 512, 512, frames=0) == 0
        client.piece()
        return client

    def end(client: PlainClient) -> None:
        assert client.data is not None
        assert is_closed(client.control)
        assert is_closed(client.data)
        client.close()

    def again(port: int) -> None:
        with PlainClient(port) as client:
            assert client.number("GetWD") == 9.0

    async with relayed_rig(rig) as relayed:
        client = await asyncio.to_thread(begin, relayed.relay.port)
        rig.close_connections()
        await asyncio.to_thread(end, client)
        await relayed.until(lambda: bool(relayed.of(SessionClosed)))
        assert not relayed.relay.is_scanning
        await asyncio.to_thread(again, relayed.relay.port)


async def test_an_image_connection_alone_may_break() -> None:
    """When the microscope closes one, the client's is closed, and the session goes on."""

    def scene(relayed: Relayed, upstream: RecordingServer) -> None:
        address = ("127.0.0.1", relayed.relay.port)
        with socket.create_connection(address, timeout=5) as control:
            upstream.accept_control()
            with socket.create_connection(("127.0.0.1", address[1] + 1), timeout=5) as data:
                upstream.accept_data()
                upstream.data.sendall(b"last")
                upstream.data.close()
                assert read(data, 4) == b"last"
                assert is_closed(data)
            control.sendall(HEADER.pack(b"GetWD", 0, 0, 0, 0, 0))
            assert read(upstream.control, 32).startswith(b"GetWD")

    async with recording() as (relayed, upstream):
        await asyncio.to_thread(scene, relayed, upstream)


async def test_no_image_connection_to_the_microscope_closes_the_client_s() -> None:
    """The announcement is answered all the same; the client's connection then comes to nothing."""

    def scene(relayed: Relayed, upstream: RecordingServer) -> None:
        upstream.listeners[1].close()
        with socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=5) as control:
            control.sendall(HEADER.pack(b"TcpRegDataPort", 4, 0, 0, 0, 0) + struct.pack("<I", 1))
            upstream.accept_control()
            read(upstream.control, 36)
            answer = HEADER.pack(b"TcpRegDataPort", 4, 0, 0, 0, 0) + bytes(4)
            upstream.control.sendall(answer)
            assert read(control, 36) == answer
            with socket.create_connection(("127.0.0.1", relayed.relay.port + 1), timeout=5) as data:
                assert is_closed(data)

    async with recording() as (relayed, upstream):
        await asyncio.to_thread(scene, relayed, upstream)


async def test_a_client_that_does_not_read_stops_the_microscope_s_stream() -> None:
    """The relay reads no more than fits its buffer, so memory stays bounded; nothing is lost."""
    total = 64 << 20

    def scene(relayed: Relayed, upstream: RecordingServer) -> None:
        with socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=5):
            upstream.accept_control()
            data = socket.socket()
            data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            data.settimeout(5)
            with data:
                data.connect(("127.0.0.1", relayed.relay.port + 1))
                upstream.accept_data()
                sent = send_until_full(upstream.data, total)
                assert sent < total
                upstream.data.shutdown(socket.SHUT_WR)
                assert count_all(data) == sent

    async with recording() as (relayed, upstream):
        await asyncio.to_thread(scene, relayed, upstream)


def send_until_full(connection: socket.socket, most: int) -> int:
    """Send until nothing has gone for a while."""
    connection.settimeout(0.3)
    sent = 0
    try:
        while sent < most:
            sent += connection.send(bytes(65_536))
    except TimeoutError:
        connection.settimeout(5)
    return sent


def count_all(connection: socket.socket) -> int:
    """Count the bytes up to the end."""
    count = 0
    while more := connection.recv(1 << 20):
        count += len(more)
    return count


async def test_a_client_that_does_not_read_its_answers_is_not_asked_for_more() -> None:
    """A full way back stops the microscope's answers, and the client's questions behind a full way forth."""

    def scene(relayed: Relayed, upstream: RecordingServer) -> None:
        with socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=5) as control:
            upstream.accept_control()
            down = send_until_full(upstream.control, 64 << 20)
            up = send_until_full(control, 64 << 20)
            assert down < 64 << 20 > up
            upstream.control.shutdown(socket.SHUT_WR)
            assert count_all(control) == down
            control.shutdown(socket.SHUT_WR)

    async with recording() as (relayed, upstream):
        await asyncio.to_thread(scene, relayed, upstream)


async def test_leaving_with_clients_attached_is_quick() -> None:
    """The relay stops in well under a second while clients scan, wait at the gate and sleep."""

    def begin(port: int) -> list[PlainClient]:
        clients = [PlainClient(port) for _ in range(3)]
        clients[0].send("DtEnable", 0, 1)
        assert clients[0].scan(1, 512, 512, frames=0) == 0
        return clients

    async with server(time_scale=1.0) as rig:
        relayed = Relayed(rig.port)
        async with relayed.relay:
            clients = await asyncio.to_thread(begin, relayed.relay.port)
            relayed.gate.close("refocus")
            clients[1].send("ScScanXY", 2, 64, 64, 0, 0, 63, 63, 1)
            await relayed.until(lambda: len(relayed.events) > 8)
            since = time.monotonic()
        assert time.monotonic() - since < 1.0
        for client in clients:
            assert await asyncio.to_thread(is_closed, client.control)
            client.close()


async def test_a_taken_port_is_an_error() -> None:
    """A port that was asked for and is taken raises before anything is served."""
    async with server() as rig, relaying(rig.port) as relayed:
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            await Relay(
                RelayOptions("127.0.0.1", rig.port, port=relayed.relay.port), on_frame=print
            ).__aenter__()
