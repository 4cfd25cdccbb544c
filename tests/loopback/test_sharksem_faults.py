"""Faults on demand, and hostile clients, of the simulated SharkSEM server over real TCP."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
import time

import pytest

from focusd.protocol.sharksem_functions import FUNCTIONS
from focusd.simulator.faults import Faults
from tests.loopback.plain_client import HEADER, PIECE, PlainClient, encoded, is_closed, read, wait_for
from tests.loopback.sharksem_rig import SCAN, play, server


async def test_answers_can_come_late_be_lost_and_carry_a_wrong_number() -> None:
    """Each switch works at once, and clearing it heals the server."""
    rig = server()

    def scene(client: PlainClient) -> None:
        rig.faults.answer_delay_s = 0.2
        begin = time.monotonic()
        client.number("GetWD")
        assert time.monotonic() - begin > 0.19
        rig.faults.answer_delay_s = 0.0
        rig.faults.corrupt_answer_id = True
        client.send("GetWD", identification=41)
        assert client.message()[0][2] != 41
        rig.faults.corrupt_answer_id = False
        rig.faults.silence = True
        client.send("SetWD", 10.0)
        client.send("GetWD")
        wait_for(lambda: rig.column.working_distance_mm == 10.0)
        client.control.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.control.recv(1)
        rig.faults.silence = False
        client.control.settimeout(5.0)
        assert client.number("GetViewField") > 0

    await play(rig, scene)


async def test_dribbled_messages_are_whole() -> None:
    """Answers and images in small segments are the same bytes."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.text("TcpGetVersion") == "3.2.20"
        assert client.scan(1, 64, 64) == 0
        assert len(client.fetch([0], 64 * 64)[0]) == 64 * 64

    await play(server(faults=Faults(dribble=True)), scene)


async def test_a_stop_in_the_middle_of_a_dribbled_piece_leaves_no_torn_message() -> None:
    """The next scan's pieces can be read after those of the stopped one."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        for frame_id in range(1, 6):
            assert client.scan(frame_id, 64, 64, frames=0) == 0
            while client.piece()[0] != frame_id:
                pass
            client.send("ScStopScan")

    await play(server(faults=Faults(dribble=True)), scene)


async def test_a_lost_piece_leaves_a_gap() -> None:
    """The piece after it begins at a larger index."""
    rig = server()

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        rig.faults.lost_pieces = 1
        assert client.scan(1, 128, 128, dwell_ns=10_000) == 0
        assert client.piece()[2] == 5000
        assert rig.faults.lost_pieces == 0

    await play(rig, scene)


async def test_an_old_version_drops_what_is_newer() -> None:
    """Version 2.0 knows neither AutoWDFine nor TcpGetModel and is silent about them."""

    def scene(client: PlainClient) -> None:
        assert client.text("TcpGetVersion") == "2.0.16"
        client.send("TcpGetModel")
        client.send("AutoWDFine", 0)
        client.send("GetBeamCurrent")
        assert client.number("GetWD") == 9.0

    rig = server(faults=Faults(protocol_version="2.0.16"))
    await play(rig, scene)
    assert not rig.column.moves


async def test_the_version_may_come_in_a_fixed_buffer() -> None:
    """The text ends at its first NUL; what follows means nothing."""

    def scene(client: PlainClient) -> None:
        client.send("TcpGetVersion")
        _, body = client.message()
        assert struct.unpack_from("<I", body) == (64,)
        assert len(body) == 68
        assert body[4:].startswith(b"3.2.20\0")
        assert body[-2:] != b"\0\0"

    await play(server(faults=Faults(version_buffer=True)), scene)


async def test_the_live_window_may_scan_from_the_start() -> None:
    """The first client finds the GUI scanning."""

    def scene(client: PlainClient) -> None:
        assert client.whole("GUIGetScanning") == 1
        assert client.scan(1, 64, 64) == -1

    await play(server(faults=Faults(gui_scanning_at_start=True)), scene)


async def test_a_voltage_change_may_block_for_long() -> None:
    """The fault adds to the time that the synchronous call takes."""

    def scene(client: PlainClient) -> None:
        begin = time.monotonic()
        client.send("HVSetVoltage", 10_000.0)
        client.number("GetWD")
        assert time.monotonic() - begin > 0.25

    await play(server(time_scale=200.0, faults=Faults(high_voltage_blocking_s=60.0)), scene)


async def test_the_beam_may_be_gone() -> None:
    """The beam reads 0 whatever is commanded, and frames are black."""

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        client.send("HVBeamOn")
        assert client.whole("HVGetBeam") == 0
        assert client.scan(1, 64, 64) == 0
        assert sum(client.fetch([0], 64 * 64)[0]) / 64 / 64 < 2

    await play(server(faults=Faults(beam_off=True)), scene)


async def test_the_lens_may_be_stuck_and_the_reading_wrong() -> None:
    """A stuck lens keeps its place; a wrong reading may be anything, also no number."""
    rig = server()

    def scene(client: PlainClient) -> None:
        rig.faults.stuck_working_distance = True
        client.send("SetWD", 10.0)
        assert client.number("GetWD") == 9.0
        rig.faults.stuck_working_distance = False
        rig.faults.working_distance_offset_mm = 0.5
        client.send("SetWD", 10.0)
        assert client.number("GetWD") == 10.5
        rig.faults.working_distance_readback = math.nan
        assert math.isnan(client.number("GetWD"))
        rig.faults.working_distance_readback = 1e9
        assert client.number("GetWD") == 1e9

    await play(rig, scene)


async def test_all_connections_may_break_at_once() -> None:
    """Clients see their connections end, and can come back."""
    rig = server()

    async with rig:
        client = await asyncio.to_thread(PlainClient, rig.port)
        rig.close_connections()
        assert await asyncio.to_thread(is_closed, client.control)
        assert client.data is not None
        assert await asyncio.to_thread(is_closed, client.data)
        client.close()
        again = await asyncio.to_thread(PlainClient, rig.port)
        again.close()


HOSTILE = {
    "garbage": bytes(range(256)) * 4,
    "no name": bytes(32),
    "body of 4 GiB": HEADER.pack(b"SetWD", 2**32 - 1, 0, 0, 0, 0) + b"x" * 1000,
    "body of 2 MiB": HEADER.pack(b"SetWD", 2 << 20, 0, 0, 0, 0),
    "string of 4 GiB": HEADER.pack(b"SetWD", 8, 0, 0, 0, 0) + struct.pack("<II", 2**32 - 1, 0),
    "cut header": HEADER.pack(b"GetWD", 0, 0, 0, 0, 0)[:17],
    "cut body": HEADER.pack(b"SetWD", 12, 0, 0, 0, 0) + b"\4",
    "name without end": HEADER.pack(b"ABCDEFGHIJKLMNOP", 0, 0, 0, 0, 0),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_client_harms_only_itself(data: bytes) -> None:
    """Whatever it sends, the client beside it is served and scans on."""
    rig = server()

    def scene(client: PlainClient) -> None:
        client.send("DtEnable", 0, 1)
        assert client.scan(1, 64, 64, frames=0) == 0
        with socket.create_connection(("127.0.0.1", client.port), timeout=5) as hostile:
            hostile.sendall(data)
            client.fetch([0], 64 * 64)
        wait_for(lambda: len(rig.sessions) == 1)
        assert client.whole("IsBusy", SCAN) == 1
        client.fetch([0], 64 * 64)

    await play(rig, scene)


async def test_abrupt_ends_in_any_order_are_survived() -> None:
    """Resets of either connection, while a scan runs and half a command is under way."""
    rig = server()

    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def scene(client: PlainClient) -> None:
        for turn in range(12):
            victim = PlainClient(client.port)
            assert victim.data is not None
            victim.send("DtEnable", 0, 1, 16)
            victim.scan(turn, 128, 128, frames=0)
            victim.piece()
            if turn % 2:
                victim.control.sendall(HEADER.pack(b"SetWD", 12, 0, 0, 0, 0) + b"\4")
            order = [victim.control, victim.data] if turn % 3 else [victim.data, victim.control]
            for connection in order:
                (reset if turn % 4 < 2 else socket.socket.close)(connection)
            wait_for(lambda: len(rig.sessions) == 1)
            assert client.whole("IsBusy", SCAN) == 0
        assert client.number("GetWD") == 9.0

    await play(rig, scene)


async def test_random_arguments_break_nothing() -> None:
    """Commands with random but well-formed and malformed bodies leave the server serving."""
    rig = server()
    dice = random.Random(5)

    def argument(letter: str) -> bytes:
        if letter in "iu":
            return encoded(dice.choice([0, 1, 2, 3, 64, -1, 2**31 - 1, -(2**31), dice.randrange(2**32)]))
        if letter == "f":
            return encoded(dice.choice(["0", "-1", "1e308", "1e-308", "nan", "inf", "9.5", "", "1e999"]))
        return encoded(dice.choice(["", "x", "\u00e9" * 100]))

    def scene(client: PlainClient) -> None:
        client.control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        names = [name for name in FUNCTIONS if name not in {"HVSetVoltage", "TcpRegDataPort"}]
        for _ in range(1500):
            name = dice.choice(names)
            body = b"".join(argument(letter) for letter in FUNCTIONS[name].request.types)
            if dice.random() < 0.2:
                body = body[: dice.randrange(len(body) + 1)]
            client.control.sendall(HEADER.pack(name.encode(), len(body), 77, 0, 0, 0) + body)
            # Stopping keeps a scan of millions of pixels from being made again and again.
            client.send("ScStopScan")
        client.control.sendall(HEADER.pack(b"GetWD", 0, 78, 0, 0, 0))
        while client.message()[0][2] != 78:
            pass
        with PlainClient(client.port) as other:
            assert 4.0 <= other.number("GetWD") <= 30.0

    await play(rig, scene)


async def test_the_last_piece_of_an_odd_frame_is_padded() -> None:
    """A raw look at the data connection: header, piece header and padding agree."""

    def scene(client: PlainClient) -> None:
        assert client.data is not None
        client.send("DtEnable", 0, 1)
        assert client.whole("ScScanXY", 9, 64, 64, 0, 0, 2, 4, 1, 1000) == 0
        name, size, *rest = HEADER.unpack(read(client.data, HEADER.size))
        body = read(client.data, size)
        assert (name, size, rest) == (b"ScData".ljust(16, b"\0"), 20 + 16, [0, 0, 0, 0])
        assert PIECE.unpack_from(body) == (9, 0, 0, 8, 15)
        assert body[-1] == 0

    await play(server(), scene)
