"""The bridge driver against a scripted bridge: connecting, reading, moving."""

from __future__ import annotations

import asyncio

import pytest

from focusd.errors import (
    LinkError,
    LinkTimeoutError,
    WorkingDistanceLimitError,
    WorkingDistanceNotSetError,
)
from focusd.frame import StagePosition
from focusd.microscope.bridge import connect_bridge
from focusd.microscope.interface import MicroscopeIdentity, MicroscopeState
from tests.unit.microscope.scripted_bridge import Json, ScriptedBridge, connected, serving

BUSY, OUT_OF_RANGE, BEAM_OFF, INTERLOCK, INSTRUMENT = -32001, -32002, -32003, -32004, -32010


# --- connecting ---


async def test_hello_comes_first_and_tells_who_answers() -> None:
    """Protocol and client are named; vendor, model and serial are taken over."""
    bridge = ScriptedBridge()
    async with serving(bridge), connect_bridge(bridge.settings()) as microscope:
        identity = microscope.identity

    assert bridge.names == ["hello"]
    assert bridge.calls[0][1]["protocol"] == 1
    assert bridge.calls[0][1]["client"].startswith("focusd ")
    assert identity == MicroscopeIdentity("ACME", "Eye", "7", "", "1")


@pytest.mark.parametrize(
    ("theirs", "common"),
    [((2.0, 50.0), (4.0, 30.0)), ((5.0, 12.0), (5.0, 12.0)), ((1, 12), (4.0, 12.0))],
)
async def test_the_narrower_limits_count(theirs: tuple[float, float], common: tuple[float, float]) -> None:
    """No move goes past the configuration, nor past what the bridge allows."""
    async with connected(ScriptedBridge(limits_mm=theirs)) as microscope:
        assert microscope.limits_mm == common


@pytest.mark.parametrize(
    ("bridge", "sentence"),
    [
        (ScriptedBridge(limits_mm=(31.0, 40.0)), "the bridge 31 to 40 mm: nothing in common"),
        (ScriptedBridge(protocol=2), "the bridge speaks protocol 2, focusd 1"),
        (ScriptedBridge(refuse={"hello": BUSY}), "hello: the bridge answered busy"),
        (ScriptedBridge(refuse={"hello": -32601}), "hello: the bridge answered unknown method"),
    ],
)
async def test_a_bridge_that_cannot_be_used_is_a_link_error(bridge: ScriptedBridge, sentence: str) -> None:
    """The error says why; connecting again later may help."""
    async with serving(bridge):
        with pytest.raises(LinkError, match=sentence):
            async with connect_bridge(bridge.settings()):
                pytest.fail("connected")


async def test_no_bridge_is_a_link_error() -> None:
    """The address is named."""
    bridge = ScriptedBridge()
    async with serving(bridge):
        settings = bridge.settings()
    with pytest.raises(LinkError, match=f"no connection to 127.0.0.1:{settings.port}: Connection refused"):
        async with connect_bridge(settings):
            pytest.fail("connected")


# --- reading ---


async def test_the_state_is_read_in_focusds_units() -> None:
    """Everything the bridge tells, and None for what it does not."""
    position = {"x_mm": 1, "y_mm": 2, "z_mm": 3, "tilt_deg": 5}
    bridge = ScriptedBridge(state={"beam_on": True, "stage_position": position})
    async with connected(bridge) as microscope:
        state = await microscope.get_state()

    assert state == MicroscopeState(
        working_distance_mm=9.0,
        field_of_view_um=12.8,
        detector="SE",
        accelerating_voltage_kv=5.0,
        beam_on=True,
        stage_position=StagePosition(1.0, 2.0, 3.0, None, 5.0),
    )


@pytest.mark.parametrize(("capabilities", "asked"), [((), "get_state"), (("ping",), "ping")])
async def test_a_sign_of_life_is_asked_in_the_cheapest_way(capabilities: tuple[str, ...], asked: str) -> None:
    """A bridge without ping is asked for its state."""
    bridge = ScriptedBridge(capabilities=capabilities)
    async with connected(bridge) as microscope:
        assert 0 < await microscope.ping() < 0.3

    assert bridge.names == [asked]


@pytest.mark.parametrize("code", [BUSY, INSTRUMENT, -32601, 1])
async def test_an_instrument_that_does_not_tell_its_state_is_gone(code: int) -> None:
    """The link is closed with the bridge's words, so that it is connected anew."""
    async with connected(ScriptedBridge(refuse={"get_state": code})) as microscope:
        lost = asyncio.Event()
        microscope.on_lost(lost.set)
        with pytest.raises(LinkError, match="get_state is not to be had"):
            await microscope.get_state()
        assert lost.is_set()
        with pytest.raises(LinkError, match="is lost"):
            await microscope.ping()


# --- moving ---


async def test_a_move_gives_the_readback() -> None:
    """One request; the bridge answers when the lens has settled."""
    bridge = ScriptedBridge()
    async with connected(bridge) as microscope:
        assert await microscope.set_working_distance(9.5) == 9.5

    assert bridge.calls == [("set_working_distance", {"working_distance_mm": 9.5})]


async def test_a_lens_has_time_to_settle() -> None:
    """A move may take longer than another request, but not for ever."""

    async def settle(bridge: ScriptedBridge, request: Json) -> None:
        await asyncio.sleep(0.2)
        await bridge.answer(request)

    timeouts = {"request_s": 0.1, "settle_s": 0.3}
    bridge = ScriptedBridge(misbehave={"set_working_distance": settle})
    async with connected(bridge, timeouts=timeouts) as microscope:
        assert await microscope.set_working_distance(9.5) == 9.5
    async with connected(bridge, timeouts={"request_s": 0.1, "settle_s": 0.05}) as microscope:
        with pytest.raises(LinkTimeoutError, match=r"no answer to set_working_distance within 0.15 s"):
            await microscope.set_working_distance(9.5)


@pytest.mark.parametrize("wanted_mm", [3.999, 12.001, -1.0, 0.0, float("inf"), float("nan")])
async def test_nothing_is_sent_for_a_move_outside_the_limits(wanted_mm: float) -> None:
    """The limits, those of the bridge too, are checked before a byte goes out."""
    bridge = ScriptedBridge(limits_mm=(1.0, 12.0))
    async with connected(bridge) as microscope:
        with pytest.raises(WorkingDistanceLimitError):
            await microscope.set_working_distance(wanted_mm)

    assert bridge.calls == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (BUSY, "busy (-32001)"),
        (OUT_OF_RANGE, "out of range (-32002)"),
        (BEAM_OFF, "beam off (-32003)"),
        (INTERLOCK, "interlock (-32004)"),
        (INSTRUMENT, "instrument (-32010)"),
        (-32602, "invalid params (-32602)"),
        (77, "instrument (77)"),
    ],
)
async def test_a_refused_move_tells_where_the_lens_is_and_why(code: int, words: str) -> None:
    """The working distance is read back, and the link goes on."""
    bridge = ScriptedBridge(refuse={"set_working_distance": code})
    async with connected(bridge) as microscope:
        with pytest.raises(WorkingDistanceNotSetError) as caught:
            await microscope.set_working_distance(9.5)
        assert await microscope.get_working_distance() == 9.0

    assert (caught.value.requested_mm, caught.value.readback_mm) == (9.5, 9.0)
    assert f"{words}: set_working_distance is not to be had" in str(caught.value)


async def test_a_busy_instrument_is_asked_again() -> None:
    """What a lost connection began may still be under way; the lens moves when that is over."""
    bridge = ScriptedBridge(refuse={"set_working_distance": BUSY})
    async with connected(bridge) as microscope:
        moving = asyncio.ensure_future(microscope.set_working_distance(9.5))
        await bridge.event("set_working_distance").wait()
        bridge.refuse.clear()
        assert await moving == 9.5

    assert bridge.names.count("set_working_distance") == 2


async def test_a_silent_limit_of_the_instrument_is_found_out() -> None:
    """A readback that differs is told with its value."""
    async with connected(ScriptedBridge(highest_mm=9.25)) as microscope:
        with pytest.raises(WorkingDistanceNotSetError) as caught:
            await microscope.set_working_distance(9.5)

    assert (caught.value.requested_mm, caught.value.readback_mm) == (9.5, 9.25)


@pytest.mark.parametrize(("readback_mm", "reached"), [(9.5010, True), (9.4990, True), (9.5011, False)])
async def test_the_tolerance_of_a_readback_is_kept(readback_mm: float, *, reached: bool) -> None:
    """A micrometre off counts as reached; more does not."""

    async def tell(bridge: ScriptedBridge, request: Json) -> None:
        await bridge.answer(request, working_distance_mm=readback_mm)

    async with connected(ScriptedBridge(misbehave={"set_working_distance": tell})) as microscope:
        if reached:
            assert await microscope.set_working_distance(9.5) == readback_mm
        else:
            with pytest.raises(WorkingDistanceNotSetError):
                await microscope.set_working_distance(9.5)
