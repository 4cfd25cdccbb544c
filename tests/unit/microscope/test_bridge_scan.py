"""The bridge driver against a scripted bridge: scanning, and what surrounds a scan."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from structlog.testing import capture_logs

from focusd.errors import LocalProtocolError, ScanIncompleteError, ScanRefusedError
from focusd.frame import ImagingConditions, ScanRegion, ScanRequest, StagePosition
from tests.unit.microscope.scripted_bridge import Json, ScriptedBridge, connected, framed

REQUEST = ScanRequest(128, 64, dwell_time_us=1.5)
BUSY, OUT_OF_RANGE, BEAM_OFF, INTERLOCK, INSTRUMENT = -32001, -32002, -32003, -32004, -32010


@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 16)])
async def test_a_scan_gives_a_frame(dtype: str, bits: int) -> None:
    """Pixels row by row, little-endian; conditions and working distance as the bridge tells them."""
    bridge = ScriptedBridge(dtype=dtype, state={"dwell_time_us": 2.0, "stage_position": {"x_mm": 1}})
    async with connected(bridge) as microscope:
        await microscope.set_working_distance(9.5)
        frame = await microscope.scan(REQUEST)

    size = bits // 8
    data = bytes(index % 251 for index in range(64 * 128 * size))
    assert np.array_equal(frame.pixels, np.frombuffer(data, f"<u{size}").reshape(64, 128))
    assert frame.pixels.dtype == dtype
    assert not frame.pixels.flags.writeable
    assert frame.working_distance_mm == 9.5
    assert frame.stage_position == StagePosition(1.0)
    assert frame.conditions == ImagingConditions(
        64, 128, bits, dwell_time_us=2.0, pixel_size_nm=100.0, detector="SE", accelerating_voltage_kv=5.0
    )


async def test_a_region_and_the_wished_depth_are_asked_for() -> None:
    """The image has the region's shape; its pixels are those of the whole field."""
    bridge = ScriptedBridge()
    request = ScanRequest(256, 256, 1.0, 16, ScanRegion(10, 20, 96, 64))
    async with connected(bridge) as microscope:
        frame = await microscope.scan(request)

    assert frame.pixels.shape == (64, 96)
    assert frame.conditions.pixel_size_nm == 50.0
    assert frame.conditions.bits_per_pixel == 8, "the bridge had only 8"
    region = {"x": 10, "y": 20, "width": 96, "height": 64}
    wanted = {"width": 256, "height": 256, "dwell_time_us": 1.0, "bits_per_pixel": 16, "region": region}
    assert bridge.calls == [("scan", wanted)]


@pytest.mark.parametrize("code", [BUSY, OUT_OF_RANGE, BEAM_OFF, INTERLOCK, INSTRUMENT, -32602, 5])
async def test_a_refused_scan_has_a_name_and_the_link_goes_on(code: int) -> None:
    """The bridge's words are told."""
    bridge = ScriptedBridge(refuse={"scan": code})
    async with connected(bridge) as microscope:
        with pytest.raises(ScanRefusedError, match=rf"would not scan: .* \({code}\): scan is not to be had"):
            await microscope.scan(REQUEST)
        bridge.refuse.clear()
        assert (await microscope.scan(REQUEST)).pixels.shape == (64, 128)


async def test_an_image_over_the_bound_is_not_asked_for() -> None:
    """The setting is named; 16 bits are reckoned with."""
    bridge = ScriptedBridge()
    async with connected(bridge, max_payload_mib=1) as microscope:
        with pytest.raises(ScanRefusedError, match=r"microscope\.max_payload_mib allows 1 MiB"):
            await microscope.scan(ScanRequest(1024, 513, 0.01))
        await microscope.scan(ScanRequest(1024, 512, 0.01))

    assert bridge.names == ["scan"]


@pytest.mark.parametrize(
    "request_",
    [
        ScanRequest(63, 64, 1.0),
        ScanRequest(64, 40_000, 1.0),
        ScanRequest(128, 128, 1.0, region=ScanRegion(65, 0, 64, 64)),
        ScanRequest(128, 128, 1.0, region=ScanRegion(0, -1, 64, 64)),
    ],
)
async def test_what_no_instrument_can_scan_is_not_asked_for(request_: ScanRequest) -> None:
    """Sides and region are checked before a byte goes out."""
    bridge = ScriptedBridge()
    async with connected(bridge) as microscope:
        with pytest.raises(LocalProtocolError, match="px a side"):
            await microscope.scan(request_)

    assert bridge.calls == []


@pytest.mark.parametrize("early_s", [0.2, 50.0])
async def test_an_image_begun_before_it_was_asked_for_is_no_frame(early_s: float) -> None:
    """A kept image would show the focus from before the move; the next fresh one counts."""

    async def from_before(bridge: ScriptedBridge, request: Json) -> None:
        then = bridge.now() - early_s
        await bridge.answer(request, started_at=then, finished_at=then)

    bridge = ScriptedBridge()
    async with connected(bridge) as microscope:
        await microscope.scan(REQUEST)
        bridge.misbehave["scan"] = from_before
        with pytest.raises(ScanIncompleteError, match=r"begun [0-9.]+ s before it was asked for"):
            await microscope.scan(REQUEST)
        bridge.misbehave.clear()
        bridge.clock_ahead_s += 3600.0
        await microscope.scan(REQUEST)


async def test_a_cancelled_scan_is_waited_for_and_its_image_dropped() -> None:
    """The caller is free at once; the next question gets its own answer, not the old image."""
    go_on = asyncio.Event()

    async def slowly(bridge: ScriptedBridge, request: Json) -> None:
        bridge.event("began").set()
        await go_on.wait()
        await bridge.answer(request)

    bridge = ScriptedBridge(misbehave={"scan": slowly})
    async with connected(bridge) as microscope:
        scan = asyncio.create_task(microscope.scan(REQUEST))
        await bridge.event("began").wait()
        scan.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scan
        move = asyncio.create_task(microscope.set_working_distance(9.5))
        await asyncio.sleep(0)
        assert bridge.moves == []
        go_on.set()
        assert await move == 9.5

    assert bridge.names == ["scan", "set_working_distance"]


# --- what surrounds a scan ---


async def test_auto_contrast_is_held_during_a_refocus_and_let_go_after_it() -> None:
    """Held once, however the holds are nested; let go by the last."""
    bridge = ScriptedBridge(capabilities=("freeze_auto_contrast",))
    async with connected(bridge) as microscope:
        async with microscope.acquisition():
            async with microscope.acquisition():
                await microscope.scan(REQUEST)
            await microscope.scan(REQUEST)
        await microscope.scan(REQUEST)

    assert bridge.calls[0] == ("freeze_auto_contrast", {"frozen": True})
    assert bridge.calls[-2] == ("freeze_auto_contrast", {"frozen": False})
    assert bridge.names == ["freeze_auto_contrast", "scan", "scan", "freeze_auto_contrast", "scan"]


async def test_without_the_capability_nothing_is_held() -> None:
    """Nothing is sent around scans."""
    bridge = ScriptedBridge()
    async with connected(bridge) as microscope, microscope.acquisition():
        await microscope.scan(REQUEST)

    assert bridge.names == ["scan"]


async def test_auto_contrast_is_let_go_when_the_scans_are_cancelled() -> None:
    """Whatever ends the block; a bridge that will not is a line in the log, and no more."""
    bridge = ScriptedBridge(capabilities=("freeze_auto_contrast",))

    async def wait_inside() -> None:
        async with microscope.acquisition():
            bridge.refuse["freeze_auto_contrast"] = BUSY
            bridge.event("inside").set()
            await asyncio.Event().wait()

    async with connected(bridge) as microscope:
        task = asyncio.create_task(wait_inside())
        await bridge.event("inside").wait()
        task.cancel()
        with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
            await task
        await microscope.ping()

    assert bridge.calls[-2] == ("freeze_auto_contrast", {"frozen": False})
    assert [entry["event"] for entry in logs] == ["auto_contrast_not_released"]


async def test_a_hold_that_is_refused_is_a_refused_scan() -> None:
    """Focus is not searched with a contrast that changes."""
    bridge = ScriptedBridge(capabilities=("freeze_auto_contrast",), refuse={"freeze_auto_contrast": BUSY})
    async with connected(bridge) as microscope:
        with pytest.raises(ScanRefusedError, match="automatic contrast cannot be held: busy"):
            async with microscope.acquisition():
                pytest.fail("held")


async def test_frames_that_nobody_asked_for_are_read_over() -> None:
    """The instrument's owner may acquire at any time, also between a request and its answer."""

    async def frames_first(bridge: ScriptedBridge, request: Json) -> None:
        params = {"frame_id": "1", "shape": [1000, 1000], "dtype": "uint8", "payload_bytes": 1_000_000}
        frame = framed({"jsonrpc": "2.0", "method": "frame", "params": params}, bytes(1_000_000))
        await bridge.write(frame + framed({"jsonrpc": "2.0", "method": "weather", "params": {}}))
        await bridge.answer(request)

    bridge = ScriptedBridge(misbehave=dict.fromkeys(["get_state", "scan"], frames_first))
    async with connected(bridge) as microscope:
        assert await microscope.get_working_distance() == 9.0
        assert (await microscope.scan(REQUEST)).pixels[0, 1] == 1
