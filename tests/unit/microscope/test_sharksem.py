"""The SharkSEM driver against a scripted server: connecting, reading, moving."""

from __future__ import annotations

import pytest

from focusd.errors import (
    LinkError,
    LinkTimeoutError,
    WorkingDistanceLimitError,
    WorkingDistanceNotSetError,
)
from focusd.frame import ScanRequest, StagePosition
from focusd.microscope.interface import MicroscopeIdentity, MicroscopeState
from focusd.microscope.sharksem import connect_sharksem
from focusd.protocol.sharksem import Message, encode_message
from tests.unit.microscope.scripted_server import ScriptedServer, connected, serving

REQUEST = ScanRequest(128, 64, dwell_time_us=1.5)


# --- connecting ---


async def test_a_session_opens_in_the_order_of_the_manual() -> None:
    """Version, identity, then the data port is told before its socket connects from it."""
    server = ScriptedServer()
    async with serving(server), connect_sharksem(server.settings()) as microscope:
        await microscope.scan(REQUEST)
        identity = microscope.identity

    assert server.names.index("TcpGetVersion") < server.names.index("TcpRegDataPort")
    assert server.registered_ports == [server.data_peer_port]
    assert identity == MicroscopeIdentity(
        "TESCAN",
        "TcpGetModel of the script",
        "TcpGetDevice of the script",
        "TcpGetSWVersion of the script",
        "3.2.20",
    )


@pytest.mark.parametrize(
    ("version", "told", "unasked"),
    [
        ("1.0.0", "", {"TcpGetSWVersion", "TcpGetDevice", "TcpGetModel", "IsBusy", "GetBeamCurrent"}),
        ("2.0.4", "2.0.4", {"TcpGetSWVersion", "TcpGetModel", "IsBusy", "GetBeamCurrent"}),
        ("2.0.25 demo", "2.0.25 demo", {"TcpGetModel"}),
    ],
)
async def test_an_older_server_is_not_asked_what_it_does_not_know(
    version: str, told: str, unasked: set[str]
) -> None:
    """One that is silent about its version counts as the oldest; everything works without waiting."""
    server = ScriptedServer(version=version)
    async with serving(server), connect_sharksem(server.settings()) as microscope:
        assert microscope.identity.protocol_version == told
        await microscope.get_state()
        assert await microscope.set_working_distance(9.5) == 9.5
        frame = await microscope.scan(REQUEST)

    assert frame.pixels.shape == (64, 128)
    assert unasked.isdisjoint(server.names)


async def test_a_refused_data_port_is_a_link_error() -> None:
    """Without images there is no session."""

    async def refuse(server: ScriptedServer, request: Message) -> None:
        await server.write(encode_message(request.answer(b"\xff\xff\xff\xff")))

    server = ScriptedServer(misbehave={"TcpRegDataPort": refuse})
    async with serving(server):
        with pytest.raises(LinkError, match="TcpRegDataPort gave -1"):
            async with connect_sharksem(server.settings()):
                pytest.fail("connected without images")


async def test_a_microscope_without_a_data_port_is_a_link_error() -> None:
    """The error says where the image connection was tried."""
    server = ScriptedServer(listens_for_data=False)
    async with serving(server):
        with pytest.raises(LinkError, match=f"no image connection to 127.0.0.1:{server.port + 1}"):
            async with connect_sharksem(server.settings()):
                pytest.fail("connected without images")


async def test_foreign_text_is_made_fit_for_a_log_line() -> None:
    """Control characters and endless names from the microscope go no further."""
    server = ScriptedServer(version="3.2.20\x1b[2J\n" + "x" * 1000)
    async with serving(server), connect_sharksem(server.settings()) as microscope:
        version = microscope.identity.protocol_version

    assert version.startswith("3.2.20[2Jxxx")
    assert len(version) <= 256


# --- the column ---


async def test_the_state_is_read_in_focusds_units() -> None:
    """Millimetres of field become micrometres, volts kilovolts; the detector has its name."""
    async with connected(ScriptedServer()) as microscope:
        state = await microscope.get_state()

    assert state == MicroscopeState(
        working_distance_mm=9.0,
        field_of_view_um=64.0,
        detector="SE",
        accelerating_voltage_kv=5.0,
        probe_current_pa=120.0,
        beam_on=True,
        stage_position=StagePosition(1.0, 2.0, 3.0, 4.0, 5.0),
    )


async def test_what_a_model_does_not_answer_is_none() -> None:
    """A missing stage or beam query leaves the rest of the state readable."""

    async def drop(_server: ScriptedServer, _request: Message) -> None:
        return

    server = ScriptedServer(
        misbehave=dict.fromkeys(["StgGetPosition", "HVGetBeam", "GetViewField", "DtGetSelected"], drop)
    )
    async with connected(server) as microscope:
        state = await microscope.get_state()

    assert (state.stage_position, state.beam_on, state.field_of_view_um, state.detector) == (None,) * 4
    assert state.working_distance_mm == 9.0


async def test_a_second_tilt_axis_is_put_up_with() -> None:
    """Six stage values read as five."""
    async with connected(ScriptedServer(stage=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))) as microscope:
        state = await microscope.get_state()

    assert state.stage_position == StagePosition(1.0, 2.0, 3.0, 4.0, 5.0)


async def test_ping_takes_a_moment() -> None:
    """A sign of life gives the round trip."""
    async with connected(ScriptedServer()) as microscope:
        assert 0 < await microscope.ping() < 0.3


# --- moving ---


async def test_a_move_is_read_back_after_the_optics_have_settled() -> None:
    """IsBusy is asked for condition C until it is 0; only then does the reading count."""
    server = ScriptedServer(busy_polls=3)
    async with connected(server) as microscope:
        assert await microscope.set_working_distance(9.5) == 9.5

    assert server.names == ["SetWD", "GetWD", *["IsBusy", "GetWD"] * 4]
    assert {arguments for name, arguments in server.calls if name == "IsBusy"} == {(1024,)}
    assert server.moves == [9.5]


@pytest.mark.parametrize("acknowledges", [True, False])
async def test_a_server_need_not_acknowledge_a_move(*, acknowledges: bool) -> None:
    """Bit 0 asks for it, but nothing hangs on it."""
    server = ScriptedServer(acknowledges=acknowledges)
    async with connected(server) as microscope:
        assert await microscope.set_working_distance(9.5) == 9.5
        assert await microscope.set_working_distance(9.6) == 9.6


async def test_an_old_servers_lens_has_settled_when_it_reads_the_same_twice() -> None:
    """Without IsBusy, readings are compared until two are equal."""
    readings = iter([9.1, 9.1, 9.3, 9.45, 9.5, 9.5])

    async def creep(server: ScriptedServer, request: Message) -> None:
        server.working_distance_mm = next(readings)
        await server.answer(request)

    server = ScriptedServer(version="2.0.8")
    async with connected(server, timeouts={"settle_s": 5.0}) as microscope:
        server.misbehave["GetWD"] = creep
        assert await microscope.set_working_distance(9.5) == 9.5

    assert next(readings, None) is None


async def test_a_lens_that_does_not_settle_is_a_timeout() -> None:
    """Where it stands is unknown: the link is closed so that it is read back first."""
    async with connected(ScriptedServer(busy_polls=10_000)) as microscope:
        with pytest.raises(LinkTimeoutError, match="did not settle within 1 s"):
            await microscope.set_working_distance(9.5)
        with pytest.raises(LinkError, match="did not settle"):
            await microscope.ping()


async def test_a_silent_limit_of_the_microscope_is_found_out() -> None:
    """A readback that differs is told with its value."""
    async with connected(ScriptedServer(highest_mm=9.25)) as microscope:
        with pytest.raises(WorkingDistanceNotSetError) as caught:
            await microscope.set_working_distance(9.5)

    assert (caught.value.requested_mm, caught.value.readback_mm) == (9.5, 9.25)


@pytest.mark.parametrize(("readback_mm", "reached"), [(9.5010, True), (9.4990, True), (9.5011, False)])
async def test_the_tolerance_of_a_readback_is_kept(readback_mm: float, *, reached: bool) -> None:
    """A micrometre off counts as reached; more does not."""

    async def tell(server: ScriptedServer, request: Message) -> None:
        server.working_distance_mm = readback_mm
        await server.answer(request)

    server = ScriptedServer()
    async with connected(server) as microscope:
        server.misbehave["GetWD"] = tell
        if reached:
            assert await microscope.set_working_distance(9.5) == readback_mm
        else:
            with pytest.raises(WorkingDistanceNotSetError):
                await microscope.set_working_distance(9.5)


@pytest.mark.parametrize("wanted_mm", [3.999, 30.001, -1.0, 0.0, float("inf"), float("nan")])
async def test_nothing_is_sent_for_a_move_outside_the_limits(wanted_mm: float) -> None:
    """The limits are checked before a byte goes out."""
    server = ScriptedServer()
    async with connected(server) as microscope:
        with pytest.raises(WorkingDistanceLimitError):
            await microscope.set_working_distance(wanted_mm)
        assert server.calls == []
        assert microscope.limits_mm == (4.0, 30.0)
        assert await microscope.set_working_distance(4.0) == 4.0
