"""The relay between a client and the simulated microscope, over real TCP: nothing is changed on the way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from focusd.protocol.sharksem_functions import FUNCTIONS
from focusd.simulator.faults import Faults
from focusd.sources.relay.events import SessionClosed, SessionOpened
from tests.loopback.plain_client import HEADER, A, B, C, D, PlainClient, encoded, read
from tests.loopback.relay_rig import RecordingServer, Relayed, recording, relayed_rig, send_in_background
from tests.loopback.sharksem_rig import SEND_RESPONSE, play, server

SIDE = 64
SAMPLES: dict[str, float | str] = {"i": 1, "u": 1, "f": 1.0, "s": "x"}
UNREPEATABLE = {"AutoStigmators", "CameraEnable"}
"""No licence, so no answer; and pictures at their own times."""


class Transcript(PlainClient):
    """A client that keeps every message it gets."""

    def __init__(self, port: int) -> None:
        self.heard: list[bytes] = []
        super().__init__(port)

    def message(self) -> tuple[tuple[bytes, int, int, int, int, int], bytes]:
        """Read the next message and keep it."""
        header, body = super().message()
        self.heard.append(HEADER.pack(*header) + body)
        return header, body


def whole_list(client: PlainClient) -> None:
    """Call every documented function, some that nobody knows, and take images of all sorts."""
    for function in FUNCTIONS.values():
        if function.name in UNREPEATABLE or function.name.startswith("ScScan"):
            continue
        # Another port would be another's image connection.
        arguments = [SAMPLES[letter] for letter in function.request.types[: function.request.required]]
        if function.name == "TcpRegDataPort":
            arguments = [1]
        client.send(function.name, *arguments, flags=SEND_RESPONSE, identification=77)
        client.message()
    for name in ("NobodyKnows", "setwd", "A23456789012345"):
        client.send(name, "argument", 5, 3.5)
    client.send("ScStopScan")
    client.send("GUISetScanning", 0)
    client.send("ScSetBlanker", 0, 0)
    client.send("HVBeamOn")
    client.send("HVSetVoltage", 5000.0)
    client.send("SetBeamCurrent", 100.0)
    client.send("SetViewField", 0.00256)
    client.send("SetWD", 9.0)
    client.wait_conditions = A | B | C | D
    client.number("GetWD")
    client.wait_conditions = 0
    images(client)
    client.number("GetWD")


def images(client: PlainClient) -> None:
    """Take two channels of 8 and 16 bits, a region, three frames in a row, a line and a stopped scan."""
    client.send("DtSelect", 0, 1)
    client.send("DtEnable", 0, 1, 8)
    client.send("DtEnable", 1, 0)
    assert client.scan(1, SIDE, SIDE) == 0
    client.fetch([0], SIDE * SIDE)
    client.send("ScStopScan")
    client.send("DtSelect", 2, 4)
    client.send("DtEnable", 2, 1, 16)
    assert client.whole("ScScanXY", 2, 256, 200, 10, 20, 109, 99, 1, 1000) == 0
    client.fetch([0, 2], 100 * 80)
    client.send("ScStopScan")
    client.send("DtEnable", 2, 0)
    assert client.scan(3, SIDE, SIDE, frames=3) == 0
    for _ in range(3):
        client.fetch([0], SIDE * SIDE)
    client.send("ScStopScan")
    assert client.whole("ScScanLine", 0, 256, 256, 0, 0, 255, 255, 1000, 500, 1) == 0
    client.fetch([0], 500)
    client.send("ScStopScan")
    assert client.scan(4, SIDE, SIDE, frames=0) == 0
    client.fetch([0], SIDE * SIDE)
    client.send("ScStopScan")


async def through(scene: Callable[[PlainClient], None], port: int) -> Transcript:
    """Play a scene with a client that keeps what it hears."""

    def run() -> Transcript:
        client = Transcript(port)
        with client:
            scene(client)
        return client

    return await asyncio.to_thread(run)


async def test_the_whole_list_sounds_the_same_through_the_relay() -> None:
    """Every answer of every documented function, and every image, is the same byte for byte."""
    async with server() as rig:
        direct = await through(whole_list, rig.port)
    async with relayed_rig(server()) as relayed:
        indirect = await through(whole_list, relayed.relay.port)

    assert indirect.heard == direct.heard
    assert len(indirect.heard) > len(FUNCTIONS) - 5
    # A continual scan goes on for as long as the stop takes to arrive.
    assert indirect.pieces[:8] == direct.pieces[:8]
    assert all(len(set(piece[4])) > 20 for piece in direct.pieces[:8])


async def test_the_frames_are_those_the_client_took() -> None:
    """Each frame handed over has the pixels, shape and depth the client got; a line is none."""
    async with relayed_rig(server()) as relayed:
        client = await through(whole_list, relayed.relay.port)

    taken: dict[tuple[int, int], bytes] = {}
    for frame_id, channel, _, _, data in client.pieces:
        taken[frame_id, channel] = taken.get((frame_id, channel), b"") + data
    kinds = [(each.order.frame_id, each.channel, each.frame.pixels.shape) for each in relayed.frames]
    assert kinds[:6] == [
        (1, 0, (64, 64)),
        (2, 0, (80, 100)),
        (2, 2, (80, 100)),
        (3, 0, (64, 64)),
        (3, 0, (64, 64)),
        (3, 0, (64, 64)),
    ]
    assert {kind[0] for kind in kinds[6:]} == {4}
    for frame in relayed.frames[:3]:
        assert frame.frame.pixels.tobytes() == taken[frame.order.frame_id, frame.channel]
    assert b"".join(each.frame.pixels.tobytes() for each in relayed.frames[3:6]) == taken[3, 0]
    assert relayed.frames[2].frame.pixels.dtype == np.uint16


async def test_frames_are_labelled_with_what_was_overheard() -> None:
    """Field of view, voltage, detector, dwell time and working distance come from the conversation."""

    def scene(client: PlainClient) -> None:
        client.text("DtEnumDetectors")
        client.send("DtSelect", 0, 4)
        client.send("DtEnable", 0, 1, 8)
        client.send("SetViewField", 0.128)
        client.number("HVGetVoltage")
        client.number("GetWD")
        client.ask("StgGetPosition", "fffff")
        assert client.scan(1, SIDE, SIDE, dwell_ns=1500) == 0
        client.fetch([0], SIDE * SIDE)
        client.send("SetWD", 9.1)
        assert client.scan(2, SIDE, SIDE) == 0
        client.fetch([0], SIDE * SIDE)

    async with relayed_rig(server()) as relayed:
        await through(scene, relayed.relay.port)

    first, second = relayed.frames
    assert first.frame.conditions.key == "BSE-5kV-1.5us-2e+03nm-64x64-8bit"
    assert first.frame.working_distance_mm == 9.0
    assert first.frame.stage_position is not None
    # Commanded, but not read back: nobody knows.
    assert second.frame.working_distance_mm is None


async def test_pieces_that_trickle_in_make_the_same_frame() -> None:
    """Segments of a few bytes, in both connections, change nothing."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1, 16)
        assert client.scan(1, SIDE, SIDE) == 0
        client.fetch([0], SIDE * SIDE)

    async with relayed_rig(server(faults=Faults(dribble=True))) as relayed:
        client = await through(scene, relayed.relay.port)

    [frame] = relayed.frames
    assert frame.frame.pixels.tobytes() == b"".join(piece[4] for piece in client.pieces)


async def test_a_lost_piece_costs_one_frame() -> None:
    """The frame with the gap is not handed over, the next one is."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1, 8)
        assert client.scan(1, 512, 512, frames=2) == 0
        while True:
            if client.piece()[2] + 262_144 // 6 > 262_144 and len(client.pieces) > 6:
                return

    rig = server(faults=Faults(lost_pieces=1))
    async with relayed_rig(rig) as relayed:
        await through(scene, relayed.relay.port)
        await relayed.until(lambda: len(relayed.frames) == 1)

    assert relayed.frames[0].frame.pixels.shape == (512, 512)


async def test_single_bytes_and_heaps_are_passed_on() -> None:
    """However the client cuts its messages, the answers are the same."""

    def scene(client: PlainClient) -> None:
        client.control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = encoded(9.25)
        move = HEADER.pack(b"SetWD", len(body), 0, 0, 0, 0) + body
        question = HEADER.pack(b"GetWD", 0, 0, 0, 0, 0)
        for byte in move + question:
            client.control.sendall(bytes([byte]))
        assert client.answer("f") == [9.25]
        client.control.sendall((move + question) * 500)
        assert [client.answer("f") for _ in range(500)] == [[9.25]] * 500

    async with relayed_rig(server()) as relayed:
        await through(scene, relayed.relay.port)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=5),
    st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=5),
)
def test_bytes_that_mean_nothing_are_passed_on_both_ways(upward: list[bytes], downward: list[bytes]) -> None:
    """Whatever either side sends, up to its end, arrives at the other unchanged."""

    def scene(relayed: Relayed, upstream: RecordingServer) -> None:
        with socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=5) as client:
            upstream.accept_control()
            sending = send_in_background(client, upward)
            answering = send_in_background(upstream.control, downward)
            sending.join()
            answering.join()
            client.shutdown(socket.SHUT_WR)
            assert read_all(upstream.control) == b"".join(upward)
            upstream.control.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"".join(downward)

    async def run() -> None:
        async with recording() as (relayed, upstream):
            await asyncio.to_thread(scene, relayed, upstream)

    asyncio.run(run())


def read_all(connection: socket.socket) -> bytes:
    """Read up to the end of the stream."""
    data = b""
    while more := connection.recv(65_536):
        data += more
    return data


async def test_messages_arrive_at_the_microscope_as_they_were_sent() -> None:
    """Only the announced port is another, and it is the one focusd's own image connection comes from."""
    question = HEADER.pack(b"GetWD", 0, 5, 0x0100, 9, 0xDEAD)
    unknown = HEADER.pack(b"Nob\0dy", 8, 1, 2, 3, 4) + b"whatever"
    body = struct.pack("<I", 0x1234) + b"tail"
    announcement = HEADER.pack(b"TcpRegDataPort", len(body), 7, 0, 3, 0xBEEF) + body

    def scene(relayed: Relayed, upstream: RecordingServer) -> None:
        with socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=5) as client:
            client.sendall(question + announcement + unknown)
            upstream.accept_control()
            got = read(upstream.control, len(question + announcement + unknown))
            place = len(question) + HEADER.size
            [port] = struct.unpack_from("<I", got, place)
            assert got[:place] + body[:4] + got[place + 4 :] == question + announcement + unknown
            upstream.control.sendall(HEADER.pack(b"TcpRegDataPort", 4, 7, 0, 3, 0) + bytes(4))
            assert upstream.accept_data() == port != 0x1234
            assert read(client, 36) == HEADER.pack(b"TcpRegDataPort", 4, 7, 0, 3, 0) + bytes(4)

    async with recording() as (relayed, upstream):
        await asyncio.to_thread(scene, relayed, upstream)


async def test_a_huge_body_is_not_waited_for() -> None:
    """The first bytes of a message of four gigabytes arrive before the rest is sent."""
    start = HEADER.pack(b"Big", 2**32 - 1, 0, 0, 0, 0) + b"first"

    def scene(relayed: Relayed, upstream: RecordingServer) -> None:
        with socket.create_connection(("127.0.0.1", relayed.relay.port), timeout=5) as client:
            client.sendall(start)
            upstream.accept_control()
            assert read(upstream.control, len(start)) == start

    async with recording() as (relayed, upstream):
        await asyncio.to_thread(scene, relayed, upstream)


async def test_pictures_of_the_chamber_are_passed_on() -> None:
    """What is no scan data goes through the image connection as well, and is no frame."""

    def scene(client: PlainClient) -> None:
        assert client.data is not None
        client.send("CameraEnable", 0, 1.0, 25.0, 0)
        name, size, *_ = HEADER.unpack(read(client.data, HEADER.size))
        assert name.rstrip(b"\0") == b"CameraData"
        assert len(read(client.data, size)) == size > 76_800

    async with relayed_rig(server()) as relayed:
        await through(scene, relayed.relay.port)
    assert relayed.frames == []


async def test_sessions_stay_apart() -> None:
    """Each client has a session of its own at the microscope, with its own channels."""

    def scene(port: int) -> None:
        with PlainClient(port) as one, PlainClient(port) as two:
            one.send("DtEnable", 0, 1, 16)
            two.send("DtEnable", 0, 1, 8)
            assert one.ask("DtGetEnabled", "ii", 0) == [1, 16]
            assert two.ask("DtGetEnabled", "ii", 0) == [1, 8]
            assert one.scan(1, SIDE, SIDE) == 0
            one.fetch([0], SIDE * SIDE)
            one.send("ScStopScan")
            one.number("GetWD")
            assert two.scan(1, SIDE, SIDE) == 0
            two.fetch([0], SIDE * SIDE)

    async with relayed_rig(server()) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)
        await relayed.until(lambda: len(relayed.of(SessionClosed)) == 2)

    assert [(each.session, each.frame.pixels.itemsize) for each in relayed.frames] == [(1, 2), (2, 1)]
    assert [event.session for event in relayed.of(SessionOpened)] == [1, 2]
    assert relayed.relay.counters.sessions == 2


async def test_a_command_that_waits_holds_its_session_only() -> None:
    """Wait flags are the microscope's business and go through untouched."""

    def scene(port: int) -> None:
        with PlainClient(port) as one, PlainClient(port) as two:
            one.send("DtEnable", 0, 1)
            assert one.scan(1, 512, 512, dwell_ns=1000) == 0
            one.wait_conditions = A
            one.send("GetWD")
            assert two.number("GetWD") == 9.0
            one.fetch([0], 512 * 512)
            assert one.answer("f") == [9.0]

    async with relayed_rig(server(time_scale=2.0)) as relayed:
        await asyncio.to_thread(scene, relayed.relay.port)


async def test_what_a_client_sent_before_it_closed_is_carried_out() -> None:
    """The last command of a client that leaves at once reaches the microscope."""

    def scene(client: PlainClient) -> None:
        client.send("SetWD", 9.5)

    rig = server()
    async with relayed_rig(rig) as relayed:
        await through(scene, relayed.relay.port)
        await relayed.until(lambda: bool(relayed.of(SessionClosed)))
        assert not rig.sessions

    assert [move.requested_mm for move in rig.column.moves] == [9.5]


async def test_the_plain_rig_is_what_the_scenes_need() -> None:
    """The scenes above work without a relay, so a failure there is the relay's."""
    await play(server(), images)
