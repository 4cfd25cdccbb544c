"""Images that a bridge tells of by itself: received in place, dated, and refused one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.errors import LinkError, LinkTimeoutError, ScanRefusedError
from focusd.frame import ScanRequest
from focusd.microscope.bridge import Bridge
from focusd.microscope.bridge_frames import ImageDates, OwnersFrames, OwnersTurn, OwnWork
from focusd.microscope.observed import ObservedFrame, TellsFrames
from focusd.protocol.bridge_rpc import Notification
from focusd.protocol.bridge_values import ImageInfo
from tests.unit.microscope.scripted_bridge import Json, ScriptedBridge, connected, framed

SHAPE = (64, 96)
PIXELS = bytes(index % 251 for index in range(SHAPE[0] * SHAPE[1]))
REQUEST = ScanRequest(64, 64, dwell_time_us=1.0)
MOST_BYTES = 1 << 16


class Told:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.frames: list[ObservedFrame] = []
        self.refused: list[str] = []
        self.news = asyncio.Event()

    def frame_observed(self, observed: ObservedFrame) -> None:
        self.frames.append(observed)
        self.news.set()

    def frame_refused(self, reason: str) -> None:
        self.refused.append(reason)
        self.news.set()

    async def next(self) -> None:
        """Wait until something is told."""
        async with asyncio.timeout(5):
            await self.news.wait()
        self.news.clear()


def notification(bridge: ScriptedBridge, payload: bytes = PIXELS, **changes: Any) -> bytes:
    """Give the bytes of a frame, some values replaced."""
    now = bridge.now()
    params: Json = {
        "frame_id": "1",
        "shape": list(SHAPE),
        "dtype": "uint8",
        "started_at": now,
        "finished_at": now,
        "state": bridge.column() | {"dwell_time_us": 0.5},
        "payload_bytes": len(payload),
    }
    return framed({"jsonrpc": "2.0", "method": "frame", "params": params | changes}, payload)


@asynccontextmanager
async def subscribed(bridge: ScriptedBridge) -> AsyncIterator[tuple[Bridge, Told]]:
    """Connect and subscribe."""
    bridge.capabilities = ("subscribe",)
    told = Told()
    async with connected(bridge) as microscope:
        await microscope.subscribe(told, most_bytes=MOST_BYTES)
        yield microscope, told


async def test_a_frame_says_all_that_the_bridge_does() -> None:
    """Pixels, conditions, place and name; the whole width spans the field of view."""
    bridge = ScriptedBridge(state={"stage_position": {"x_mm": 1.5}})
    async with subscribed(bridge) as (_, told):
        for name in (7, "a7"):
            await bridge.write(notification(bridge, frame_id=name))
            await told.next()

    number, observed = told.frames
    assert number.name == "7"
    frame = observed.frame
    assert observed.name == "a7"
    assert observed.is_disturbed() is False
    assert frame.pixels.tobytes() == PIXELS
    assert frame.conditions.dwell_time_us == 0.5
    assert frame.conditions.pixel_size_nm == pytest.approx(12.8e3 / SHAPE[1])
    assert frame.working_distance_mm == 9.0
    assert frame.stage_position is not None
    assert frame.stage_position.x_mm == 1.5
    assert abs(frame.acquired_at - time.time()) < 5
    assert bridge.names == ["subscribe"]


async def test_sixteen_bits_come_in_this_machines_order() -> None:
    """The wire is little-endian."""
    bridge = ScriptedBridge()
    pixels = np.arange(SHAPE[0] * SHAPE[1], dtype="<u2").reshape(SHAPE)
    async with subscribed(bridge) as (_, told):
        await bridge.write(notification(bridge, pixels.tobytes(), dtype="uint16"))
        await told.next()

    assert np.array_equal(told.frames[0].frame.pixels, pixels)


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"dtype": "rgb8"}, "dtype must be uint8 or uint16"),
    ({"shape": [64, 96, 3]}, "shape must be"),
    ({"shape": [32, 192]}, "32 x 192 px, each side must be 64"),
    ({"shape": [64, 64]}, "6144 are announced"),
    ({"state": {}}, "working_distance_mm must be a finite number"),
    ({"started_at": None}, "started_at must be"),
    ({"frame_id": [7]}, "frame_id must be text"),
    ({"payload": b""}, "it came without pixels"),
    ({"payload": bytes(256 * 512), "shape": [256, 512]}, "at most 65536 are taken (stream.memory_mib)"),
]


@pytest.mark.parametrize(("changes", "reason"), BROKEN, ids=[reason[:20] for _, reason in BROKEN])
async def test_a_broken_frame_costs_itself(changes: dict[str, Any], reason: str) -> None:
    """It is refused with a reason; the next one is whole, and so is the link."""
    bridge = ScriptedBridge()
    async with subscribed(bridge) as (microscope, told):
        await bridge.write(notification(bridge, **changes))
        await bridge.write(notification(bridge, frame_id="2"))
        while not told.frames:
            await told.next()
        await microscope.ping()

    assert [observed.name for observed in told.frames] == ["2"]
    assert len(told.refused) == 1
    assert reason in told.refused[0]


async def test_frames_between_a_request_and_its_answer_hold_up_neither() -> None:
    """Whole before the answer, and in its very bytes."""

    async def with_frames(bridge: ScriptedBridge, request: Json) -> None:
        data = notification(bridge) + bridge.healthy(request) + notification(bridge, frame_id="2")
        for start in range(0, len(data), 1000):
            await bridge.write(data[start : start + 1000])

    bridge = ScriptedBridge(misbehave={"scan": with_frames})
    async with subscribed(bridge) as (microscope, told):
        frame = await microscope.scan(REQUEST)
        while len(told.frames) < 2:
            await told.next()

    assert frame.pixels.shape == (64, 64)
    assert [observed.frame.pixels.tobytes() for observed in told.frames] == [PIXELS] * 2


async def test_notifications_of_a_later_version_are_read_over() -> None:
    """With what they carry."""
    bridge = ScriptedBridge()
    news = {"jsonrpc": "2.0", "method": "weather", "params": {"payload_bytes": 5}}
    async with subscribed(bridge) as (microscope, told):
        await bridge.write(framed(news, b"sunny") + notification(bridge))
        await told.next()
        await microscope.ping()

    assert ([observed.name for observed in told.frames], told.refused) == (["1"], [])


async def test_frames_in_place_of_an_answer_are_found_out() -> None:
    """A bridge that pushes and never answers is as dead as one that says nothing."""

    async def frames_only(bridge: ScriptedBridge, _: Json) -> None:
        for number in range(100):
            await bridge.write(notification(bridge, frame_id=str(number)))
            await asyncio.sleep(0.01)

    bridge = ScriptedBridge(misbehave={"get_state": frames_only})
    async with subscribed(bridge) as (microscope, told):
        with pytest.raises(LinkTimeoutError, match="no answer to get_state within"):
            await microscope.get_state()

    assert len(told.frames) > 5


async def test_a_bridge_without_the_capability_is_refused() -> None:
    """Nothing is asked of it."""
    bridge = ScriptedBridge(capabilities=("ping",))
    async with connected(bridge) as microscope:
        assert isinstance(microscope, TellsFrames)
        with pytest.raises(LinkError, match="subscribe is not among its capabilities"):
            await microscope.subscribe(Told(), most_bytes=MOST_BYTES)

    assert bridge.names == []


async def test_a_bridge_that_refuses_to_tell_is_named() -> None:
    """Whatever it says of its capabilities."""
    bridge = ScriptedBridge(refuse={"subscribe": -32010})
    with pytest.raises(LinkError, match="subscribe: the bridge answered"):
        async with subscribed(bridge):
            pass


# --- what focusd itself has disturbed ---


async def test_frames_begun_before_a_move_had_ended_are_disturbed() -> None:
    """By the bridge's clock, which is a thousand seconds ahead; known from a scan."""
    bridge = ScriptedBridge()
    async with subscribed(bridge) as (microscope, told):
        await microscope.scan(REQUEST)
        before = bridge.now()
        await microscope.set_working_distance(9.1)
        for name, started_at in (("old", before), ("new", bridge.now() + 0.2)):
            times: Json = {"started_at": started_at, "finished_at": started_at}
            await bridge.write(notification(bridge, frame_id=name, **times))
            await told.next()

    assert [(each.name, each.is_disturbed()) for each in told.frames] == [("old", True), ("new", False)]


async def test_a_long_frame_that_overlaps_a_scan_is_disturbed() -> None:
    """Also when no scan has told anything of the bridge's clock: it took longer than the scan is ago."""
    bridge = ScriptedBridge()
    async with subscribed(bridge) as (microscope, told):
        await microscope.set_working_distance(9.1)
        async with asyncio.timeout(5):
            while not told.frames or told.frames[-1].is_disturbed():
                await bridge.write(notification(bridge))
                await told.next()
        now = bridge.now()
        await bridge.write(notification(bridge, started_at=now - 50.0, finished_at=now))
        await told.next()

    assert told.frames[-1].is_disturbed() is True


@pytest.mark.parametrize(("took_s", "is_disturbed"), [(2.0, False), (0.1, True)])
async def test_a_frame_of_which_hardly_anything_was_disturbed_is_judged(
    took_s: float, is_disturbed: bool
) -> None:
    """The first lines of a long one; of a short one that would be a good part."""
    work, told = OwnWork(), Told()
    work.begin()
    work.end(was_done=True)
    ended_at = asyncio.get_running_loop().time()

    class SoonAfter(ImageDates):
        def begun_at(self, info: ImageInfo, *, came_at: float) -> float:
            assert info.finished_at - info.started_at == took_s < came_at
            return ended_at - 0.01

    frames = OwnersFrames(told, MOST_BYTES, work, SoonAfter(), OwnersTurn())
    notice = Notification("frame", HEALTHY | {"started_at": 0.0, "finished_at": took_s})
    frames.place(notice, 4096)
    frames.take(notice)

    assert told.frames[0].is_disturbed() is is_disturbed


async def test_a_refocus_is_one_piece_of_work_from_its_first_scan() -> None:
    """Pauses between its scans count too; refusals of a busy instrument do not."""
    bridge = ScriptedBridge(refuse={"scan": -32001})
    async with subscribed(bridge) as (microscope, told), microscope.acquisition():
        with pytest.raises(ScanRefusedError, match="busy"):
            await microscope.scan(REQUEST)
        await bridge.write(notification(bridge, frame_id="before"))
        await told.next()
        undisturbed = told.frames[-1].is_disturbed()
        bridge.refuse.clear()
        await microscope.scan(REQUEST)
        await bridge.write(notification(bridge, frame_id="between"))
        await told.next()
        between = told.frames[-1].is_disturbed()

    assert (undisturbed, between) == (False, True)
    assert told.frames[0].is_disturbed() is True, "the refocus has come between it and its judgement"


async def test_the_end_of_the_owners_frame_is_waited_for() -> None:
    """A busy instrument is asked again as soon as a frame has come, for as long as frames take."""
    bridge = ScriptedBridge(refuse={"scan": -32001})
    async with subscribed(bridge) as (microscope, told):
        now = bridge.now()
        await bridge.write(notification(bridge, started_at=now - 20, finished_at=now))
        await told.next()
        scanning = asyncio.create_task(microscope.scan(REQUEST))
        # Asked ten times a second, it would be given up by now but for the frame that took long.
        while bridge.names.count("scan") < 8:
            async with asyncio.timeout(5):
                await bridge.event("scan").wait()
            bridge.event("scan").clear()
        assert not scanning.done()
        bridge.refuse.clear()
        await bridge.write(notification(bridge, frame_id="2"))
        async with asyncio.timeout(5):
            frame = await scanning

    assert frame.pixels.shape == (64, 64)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("frame_id", "shape", "dtype", "started_at", "finished_at", "state", "payload_bytes")
HEALTHY: Json = {
    "frame_id": "1",
    "shape": [64, 64],
    "dtype": "uint8",
    "started_at": 1.0,
    "finished_at": 2.0,
    "state": {"working_distance_mm": 9.0},
}


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=3), st.sampled_from([0, 1, 4096, 8192, 1 << 20]))
def test_whatever_is_told_is_a_frame_or_a_refusal(junk: Json, payload_bytes: int) -> None:
    """No value of a notification raises anything, and memory is given for the announced size alone."""
    told = Told()

    async def tell() -> memoryview | None:
        frames = OwnersFrames(told, MOST_BYTES, OwnWork(), ImageDates(), OwnersTurn())
        notification = Notification("frame", HEALTHY | junk)
        place = frames.place(notification, payload_bytes) if payload_bytes else None
        frames.take(notification)
        return place

    place = asyncio.run(tell())

    assert (len(told.frames), len(told.refused)) == ((1, 0) if place is not None else (0, 1))
    assert place is None or place.nbytes == payload_bytes <= MOST_BYTES
