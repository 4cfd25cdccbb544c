"""The simulated SharkSEM server over real TCP: commands and the conditions they wait for."""

from __future__ import annotations

import math
import struct
import time

import pytest
from structlog.testing import capture_logs

from focusd.protocol.sharksem_functions import FUNCTIONS
from tests.loopback.plain_client import HEADER, B, C, D, PlainClient, read, wait_for
from tests.loopback.sharksem_rig import JUMP, OPTICS, PROCEDURE, SEND_RESPONSE, STAGE, play, server


async def test_a_client_connects_and_asks_who_answers() -> None:
    """Versions, serial number and licences are told as text."""

    def scene(client: PlainClient) -> None:
        assert client.text("TcpGetVersion") == "3.2.20"
        assert client.text("TcpGetSWVersion").startswith("Version ")
        assert client.text("TcpGetDevice")
        assert client.text("TcpGetModel")
        assert client.whole("IsLicenseValid", "SharkSEM Automation") == 1
        assert client.whole("IsLicenseValid", "Something else") == 0

    await play(server(), scene)


async def test_the_working_distance_is_limited_silently() -> None:
    """A void command gets no answer; only the reading back tells what it became."""

    def scene(client: PlainClient) -> None:
        for wanted, got in ((9.25, 9.25), (1000.0, 30.0), (-1.0, 4.0), (9.000123456789, 9.000123456789)):
            client.send("SetWD", wanted)
            assert client.number("GetWD") == got

    rig = server()
    await play(rig, scene)
    assert [move.requested_mm for move in rig.column.moves] == [9.25, 1000.0, -1.0, 9.000123456789]


async def test_settings_are_read_back() -> None:
    """Field, current, voltage, centerings, geometry, shift, gain, blanker and speed keep what was set."""

    def scene(client: PlainClient) -> None:
        client.send("SetViewField", 0.5)
        assert math.isclose(client.number("GetViewField"), 0.5)
        client.send("SetBeamCurrent", 250.0)
        assert client.number("GetBeamCurrent") == 250.0
        client.send("HVSetVoltage", 10_000.0)
        assert client.number("HVGetVoltage") == 10_000.0
        client.send("SetImageShift", 0.001, -0.002)
        assert client.ask("GetImageShift", "ff") == [0.001, -0.002]
        client.send("SetGeometry", 1, 30.0, 0.0)
        assert client.number("GetImageRot") == 30.0
        client.send("DtSetGainBlack", 1, 60.0, 140.0)
        assert client.ask("DtGetGainBlack", "ff", 1) == [60.0, 100.0]
        client.send("ScSetBlanker", 0, 1)
        assert client.whole("ScGetBlanker", 0) == 1
        client.send("ScSetSpeed", 99)
        assert client.whole("ScGetSpeed") == 6

    await play(server(), scene)


async def test_the_stigmator_is_a_centering_found_by_its_name() -> None:
    """The entry called stigmator moves the column's stigmator."""

    def scene(client: PlainClient) -> None:
        lines = client.text("EnumCenterings").splitlines()
        [index] = [line.split(".")[1] for line in lines if "name=" in line and "stigmator" in line.lower()]
        client.send("SetCentering", int(index), 1.5, -2.5)
        assert client.ask("GetCentering", "ff", int(index)) == [1.5, -2.5]

    rig = server()
    await play(rig, scene)
    assert rig.column.stigmator_percent == (1.5, -2.5)


async def test_every_line_of_a_map_ends_with_a_newline() -> None:
    """Known parsers need a newline after the last line, and name before number for a detector."""

    def scene(client: PlainClient) -> None:
        assert client.text("DtEnumDetectors") == (
            "det.0.name=SE\ndet.0.detector=1\ndet.1.name=BSE\ndet.1.detector=4\n"
        )
        for name in ("EnumCenterings", "EnumGeometries", "ScEnumSpeeds", "SMEnumModes", "HVEnumIndexes"):
            assert client.text(name).endswith("\n")

    await play(server(), scene)


async def test_every_function_of_the_wire_answers_as_its_signature_says() -> None:
    """With bit 0 every function is answered with the types it promises, whatever its arguments."""
    samples: dict[str, float | str] = {"i": 1, "u": 1, "f": 1.0, "s": "x"}

    def scene(client: PlainClient) -> None:
        for function in FUNCTIONS.values():
            if function.name == "AutoStigmators":
                continue
            arguments = [samples[letter] for letter in function.request.types[: function.request.required]]
            client.send(function.name, *arguments, flags=SEND_RESPONSE)
            (name, *_), body = client.message()
            assert name.rstrip(b"\0").decode() == function.name
            assert len(function.answer.decode(body)) >= function.answer.required
            assert bool(body) == bool(function.answer.types)

    await play(server(), scene)


async def test_answers_copy_identification_and_queue() -> None:
    """The header of an answer is that of its request with the flags cleared."""

    def scene(client: PlainClient) -> None:
        client.control.sendall(HEADER.pack(b"GetWD", 0, 0xDEADBEEF, SEND_RESPONSE, 7, 0))
        assert client.message()[0] == (b"GetWD".ljust(16, b"\0"), 8, 0xDEADBEEF, 0, 7, 0)

    await play(server(), scene)


async def test_strings_count_their_nul_but_no_padding() -> None:
    """The size of a text is its length plus one, and padding follows."""

    def scene(client: PlainClient) -> None:
        client.send("SetWD", 9.25)
        client.send("GetWD")
        assert client.message()[1] == struct.pack("<I", 5) + b"9.25\0\0\0\0"

    await play(server(), scene)


async def test_what_is_void_unknown_or_broken_is_not_answered() -> None:
    """After a heap of such commands the next answer is that of the next question."""

    def scene(client: PlainClient) -> None:
        for name in ("ScStopScan", "ProgressHide", "NoSuchThing", "Degauss", "AutoStigmators", "SetWD"):
            client.send(name)
        client.send("SetWD", "nine")
        client.send("AutoStigmators", 0)
        client.send("ScScanXY", 1, 64)
        client.send("TcpRegDataPort")
        assert client.number("GetWD") == 9.0

    with capture_logs() as events:
        await play(server(strict=True), scene)

    dropped = [event["command"] for event in events if event["event"] == "command_dropped"]
    assert dropped == [
        "NoSuchThing",
        "Degauss",
        "AutoStigmators",
        "SetWD",
        "SetWD",
        "AutoStigmators",
        "ScScanXY",
        "TcpRegDataPort",
    ]


async def test_a_flagged_command_waits_for_its_condition() -> None:
    """The lens, the stage and a procedure each hold a command that is flagged with their condition."""

    def scene(client: PlainClient) -> None:
        for condition, bit, name, arguments in (
            (C, OPTICS, "Delay", (20_000,)),
            (B, STAGE, "StgMoveTo", (30.0,)),
            (D, PROCEDURE, "AutoWD", (0,)),
        ):
            client.send(name, *arguments)
            assert client.whole("IsBusy", bit) == 1
            assert client.whole("IsBusy", 0xFF00 & ~bit) == 0
            client.wait_conditions = condition
            client.number("GetWD")
            client.wait_conditions = 0
            # Every later command counts as one more look, and the condition stays down.
            assert client.whole("IsBusy", 0xFF00) == 0

    await play(server(time_scale=60.0), scene)


async def test_a_held_command_holds_those_behind_it() -> None:
    """Commands of one session never overtake each other; another session goes on meanwhile."""

    def scene(client: PlainClient) -> None:
        client.send("Delay", 60_000)
        client.wait_conditions = C
        client.send("SetWD", 10.0)
        client.wait_conditions = 0
        client.send("GetWD")
        with PlainClient(client.port) as other:
            assert other.number("GetWD") == 9.0
            assert other.whole("IsBusy", OPTICS) == 1
        assert client.answer("f") == [10.0]

    await play(server(time_scale=100.0), scene)


async def test_the_jump_bit_gets_ahead_of_a_held_command() -> None:
    """A command with the jump bit runs although the head of the queue waits."""

    def scene(client: PlainClient) -> None:
        client.send("Delay", 60_000)
        assert client.whole("IsBusy", OPTICS) == 1
        client.wait_conditions = C
        client.send("GetWD")
        client.wait_conditions = 0
        assert client.ask("IsBusy", "i", OPTICS, flags=JUMP) == [1]
        assert client.answer("f") == [9.0]

    await play(server(time_scale=100.0), scene)


async def test_isbusy_takes_header_positions() -> None:
    """The shifted-down masks of the client's own wait conditions mean nothing to IsBusy."""

    def scene(client: PlainClient) -> None:
        client.send("SetWD", 9.5)
        assert client.whole("IsBusy", C) == 0
        assert client.whole("IsBusy", OPTICS) == 1

    await play(server(time_scale=0.5), scene)


async def test_the_stage_takes_its_time_and_can_be_stopped() -> None:
    """A move ends where it was told to, limited silently; a stop leaves the stage on the way."""

    def scene(client: PlainClient) -> None:
        client.send("StgMoveTo", 10.0, -20.0)
        assert client.whole("StgIsBusy") == 1
        client.send("StgMoveTo", 0.0, 0.0)
        client.wait_conditions = B
        assert client.ask("StgGetPosition", "fffff") == [10.0, -20.0, 0.0, 0.0, 0.0]
        client.wait_conditions = 0
        client.send("StgMoveTo", 999.0)
        wait_for(lambda: float(client.ask("StgGetPosition", "fffff")[0]) > 10.0)
        client.send("StgStop")
        wait_for(lambda: client.whole("StgIsBusy") == 0)
        assert 10.0 < float(client.ask("StgGetPosition", "fffff")[0]) < 50.0
        assert client.ask("StgGetLimits", "f" * 10, 0)[:2] == [-50.0, 50.0]

    await play(server(time_scale=40.0), scene)


@pytest.mark.parametrize(("name", "largest_error_mm"), [("AutoWD", 0.009), ("AutoWDFine", 0.0011)])
async def test_automatic_focus_finds_the_focus_up_to_a_point(name: str, largest_error_mm: float) -> None:
    """The coarse procedure ends within some depths of field of focus, the fine one within one."""

    def scene(client: PlainClient) -> None:
        client.send("SetWD", 9.04)
        client.send(name, 0)
        client.wait_conditions = D
        assert abs(client.number("GetWD") - 9.0) < largest_error_mm

    rig = server()
    await play(rig, scene)
    assert len(rig.column.moves) == 8


async def test_automatic_focus_stays_within_the_range_it_is_given() -> None:
    """No visited working distance lies outside."""

    def scene(client: PlainClient) -> None:
        client.send("SetWD", 9.04)
        client.send("AutoWD", 0, 9.02, 9.1)
        client.wait_conditions = D
        client.number("GetWD")

    rig = server()
    await play(rig, scene)
    assert all(9.02 <= move.set_mm <= 9.1 for move in rig.column.moves)


async def test_a_voltage_change_holds_its_session_unless_asynchronous() -> None:
    """The synchronous call keeps the next command waiting; the other one only raises condition C."""

    def scene(client: PlainClient) -> None:
        begin = time.monotonic()
        client.send("HVSetVoltage", 10_000.0)
        client.number("GetWD")
        assert time.monotonic() - begin > 0.2
        client.send("HVSetVoltage", 5_000.0, 1)
        assert client.whole("HVGetIndex") == 1001
        client.wait_conditions = C
        assert client.number("HVGetVoltage") == 5_000.0

    await play(server(time_scale=4.0), scene)


async def test_the_beam_takes_a_moment_to_come() -> None:
    """After HVBeamOn the beam reads 1000 until it is there."""

    def scene(client: PlainClient) -> None:
        client.send("HVBeamOff")
        assert client.whole("HVGetBeam") == 0
        client.send("HVBeamOn")
        assert client.whole("HVGetBeam") == 1000
        client.wait_conditions = C
        assert client.whole("HVGetBeam") == 1

    await play(server(time_scale=2.0), scene)


async def test_the_chamber_camera_sends_whole_pictures() -> None:
    """Each picture is one message; after CameraDisable there are no more."""

    def scene(client: PlainClient) -> None:
        assert client.data is not None
        client.send("CameraEnable", 0, 1.0, 25.0, 0)
        for _ in range(2):
            name, size, *_ = HEADER.unpack(read(client.data, HEADER.size))
            body = read(client.data, size)
            assert name.rstrip(b"\0") == b"CameraData"
            assert struct.unpack_from("<5I", body) == (0, 8, 320, 240, 76_800)
        assert client.ask("CameraGetStatus", "iffi", 0) == [1, 1.0, 25.0, 0]
        client.send("CameraDisable")
        assert client.ask("CameraGetStatus", "iffi", 0)[0] == 0

    await play(server(), scene)
