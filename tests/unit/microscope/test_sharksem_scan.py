"""The SharkSEM driver against a scripted server: scans, and the hold of the scan generator."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from focusd.errors import LinkError, LocalProtocolError, ScanRefusedError
from focusd.frame import ImagingConditions, ScanRegion, ScanRequest, StagePosition
from focusd.microscope.sharksem import connect_sharksem
from focusd.protocol.sharksem_image import ScanPiece
from tests.unit.microscope.scripted_server import ScriptedServer, connected, serving

REQUEST = ScanRequest(128, 64, dwell_time_us=1.5)


async def half_an_image(server: ScriptedServer, frame_id: int, pixels: int) -> None:
    """Send the first half and say so."""
    await server.write_data(ScanPiece(frame_id, 0, 0, 8, bytes(pixels // 2)).encode())
    server.event("half an image").set()


# --- scanning ---


async def test_a_scan_is_what_was_asked_for() -> None:
    """The image, its conditions, the readback and the stage make a frame."""
    server = ScriptedServer()
    async with connected(server) as microscope:
        frame = await microscope.scan(REQUEST)

    assert frame.conditions == ImagingConditions(
        rows=64,
        columns=128,
        bits_per_pixel=8,
        dwell_time_us=1.5,
        pixel_size_nm=500.0,
        detector="SE",
        accelerating_voltage_kv=5.0,
    )
    assert frame.working_distance_mm == 9.0
    assert frame.stage_position == StagePosition(1.0, 2.0, 3.0, 4.0, 5.0)
    np.testing.assert_array_equal(frame.pixels.ravel(), np.arange(64 * 128) % 251)
    assert ("ScScanXY", (1, 128, 64, 0, 0, 127, 63, 1, 1500)) in server.calls


async def test_a_region_is_sent_with_its_last_pixels() -> None:
    """Right and bottom are inclusive; the pixel size is that of the whole field."""
    server = ScriptedServer()
    async with connected(server) as microscope:
        frame = await microscope.scan(ScanRequest(512, 256, 1.0, region=ScanRegion(100, 50, 80, 70)))

    assert frame.pixels.shape == (70, 80)
    assert frame.conditions.pixel_size_nm == 125.0
    assert ("ScScanXY", (1, 512, 256, 100, 50, 179, 119, 1, 1000)) in server.calls


async def test_16_bit_scans_are_enabled_and_read_little_endian() -> None:
    """The depth is set when it changes, and only then."""
    server = ScriptedServer()
    async with connected(server) as microscope, microscope.acquisition():
        frame = await microscope.scan(ScanRequest(64, 64, 1.0, 16))
        await microscope.scan(ScanRequest(64, 64, 1.0, 16))
        await microscope.scan(ScanRequest(64, 64, 1.0, 8))

    assert frame.pixels.dtype == np.uint16
    assert frame.pixels[0, 1] == 2 + 3 * 256
    assert [arguments for name, arguments in server.calls if name == "DtEnable" and arguments[1] == 1] == [
        (0, 1, 16),
        (0, 1, 8),
    ]


async def test_only_the_wanted_channel_is_sent_with_the_wanted_detector() -> None:
    """Other channels are disabled, the detector is selected where one is configured, the LUT is off."""
    server = ScriptedServer()
    async with connected(server, channel=0, detector=7) as microscope:
        frame = await microscope.scan(REQUEST)

    sent = server.calls[server.names.index("DtGetChannels") + 1 : server.names.index("ScScanXY")]
    assert [each for each in sent if each[0] in ("DtEnable", "DtSelect", "ScLUTSrcSet")] == [
        ("DtEnable", (1, 0)),
        ("DtEnable", (2, 0)),
        ("DtEnable", (3, 0)),
        ("DtSelect", (0, 7)),
        ("DtEnable", (0, 1, 8)),
        ("ScLUTSrcSet", (0,)),
    ]
    assert frame.conditions.detector == "BSE"


async def test_the_operators_detector_is_left_alone() -> None:
    """Without a configured detector nothing is selected."""
    server = ScriptedServer(selected_detector=99)
    async with connected(server) as microscope:
        frame = await microscope.scan(REQUEST)

    assert "DtSelect" not in server.names
    assert frame.conditions.detector is None


async def test_a_channel_the_microscope_lacks_is_named() -> None:
    """A wrong setting shows itself in words, not as a silent timeout."""
    server = ScriptedServer(channels=2)
    async with connected(server, channel=2) as microscope:
        with pytest.raises(ScanRefusedError, match=r"microscope\.channel is 2, .* channels 0 to 1"):
            await microscope.scan(REQUEST)

    assert "ScScanXY" not in server.names


async def test_every_scan_has_a_new_number_and_is_stopped() -> None:
    """ScStopScan follows each scan, without a wait flag."""
    server = ScriptedServer()
    async with connected(server) as microscope, microscope.acquisition():
        for _ in range(3):
            await microscope.scan(REQUEST)

    scans = [(name, arguments[:1]) for name, arguments in server.calls if name in ("ScScanXY", "ScStopScan")]
    assert scans[1:] == [
        ("ScScanXY", (1,)),
        ("ScStopScan", ()),
        ("ScScanXY", (2,)),
        ("ScStopScan", ()),
        ("ScScanXY", (3,)),
        ("ScStopScan", ()),
    ]


async def test_numbers_of_scans_do_not_run_out() -> None:
    """After the last 32-bit number comes 1, never 0."""
    server = ScriptedServer()
    async with connected(server) as microscope:
        microscope._scanner._frame_id = 2**32 - 1
        await microscope.scan(REQUEST)

    assert ("ScScanXY", (1, 128, 64, 0, 0, 127, 63, 1, 1500)) in server.calls


async def test_an_old_server_scans_at_its_nearest_speed() -> None:
    """Before 2.0.6 a scan takes no dwell time; the frame tells the one it really had."""
    server = ScriptedServer(version="2.0.5")
    async with connected(server) as microscope:
        frame = await microscope.scan(REQUEST)

    assert ("ScSetSpeed", (2,)) in server.calls
    assert ("ScScanXY", (1, 128, 64, 0, 0, 127, 63, 1)) in server.calls
    assert frame.conditions.dwell_time_us == 1.0


async def test_an_old_server_without_speeds_cannot_scan() -> None:
    """There is no dwell time to be had, and it says so."""
    async with connected(ScriptedServer(version="2.0.5", speeds="nothing\n")) as microscope:
        with pytest.raises(ScanRefusedError, match="names no scan speed"):
            await microscope.scan(REQUEST)


@pytest.mark.parametrize(
    "request_",
    [
        ScanRequest(63, 64, 1.0),
        ScanRequest(64, 40_000, 1.0),
        ScanRequest(128, 128, 1.0, 12),
        ScanRequest(128, 128, 0.0),
        ScanRequest(128, 128, 5e6),
        ScanRequest(128, 128, float("nan")),
        ScanRequest(128, 128, 1.0, region=ScanRegion(65, 0, 64, 64)),
        ScanRequest(128, 128, 1.0, region=ScanRegion(-1, 0, 64, 64)),
    ],
)
async def test_a_scan_that_cannot_be_is_not_asked_for(request_: ScanRequest) -> None:
    """The request is checked before the operator's live picture is stopped."""
    server = ScriptedServer()
    async with connected(server) as microscope:
        with pytest.raises(LocalProtocolError):
            await microscope.scan(request_)
        assert server.calls == []


# --- holding the scan generator ---


async def test_the_live_picture_stops_for_the_hold_and_comes_back_after_it() -> None:
    """However many scans and nested holds there are, it is stopped once and started once."""
    server = ScriptedServer(gui_scanning=1)
    async with connected(server) as microscope:
        async with microscope.acquisition():
            assert server.gui_scanning == 0
            await microscope.scan(REQUEST)
            async with microscope.acquisition():
                await microscope.scan(REQUEST)
            assert server.gui_scanning == 0
        assert server.gui_scanning == 1

    assert [arguments for name, arguments in server.calls if name == "GUISetScanning"] == [(0,), (1,)]


async def test_where_no_live_picture_was_none_is_started() -> None:
    """A still microscope stays still."""
    server = ScriptedServer()
    async with connected(server) as microscope:
        await microscope.scan(REQUEST)

    assert ("GUISetScanning", (1,)) not in server.calls


async def test_two_tasks_share_a_hold_and_scan_one_after_the_other() -> None:
    """The generator is given back when the last of them has ended."""
    server = ScriptedServer(gui_scanning=1)
    async with connected(server) as microscope, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(microscope.scan(REQUEST))

    starts_and_stops = [name for name in server.names if name in ("ScScanXY", "ScStopScan")]
    assert starts_and_stops.count("ScScanXY") == 4
    assert ("ScScanXY", "ScScanXY") not in set(pairwise(starts_and_stops))
    assert server.gui_scanning == 1


async def test_another_programs_scan_is_not_disturbed() -> None:
    """A beam that scans without the live picture belongs to somebody: nothing is stopped or started."""
    server = ScriptedServer(other_client_scans=True)
    async with connected(server) as microscope:
        with pytest.raises(ScanRefusedError, match="another program"):
            await microscope.scan(REQUEST)
        server.other_client_scans = False
        await microscope.scan(REQUEST)

    first_scan = server.names.index("ScScanXY")
    assert server.names[:first_scan].count("ScStopScan") == 1


async def test_a_refused_scan_is_not_stopped() -> None:
    """What is running after a refusal is not ours; the live picture comes back all the same."""
    server = ScriptedServer(scan_code=-1, gui_scanning=1)
    async with connected(server) as microscope:
        with pytest.raises(ScanRefusedError, match="ScScanXY gave -1"):
            await microscope.scan(REQUEST)

    assert "ScStopScan" not in server.names[server.names.index("ScScanXY") :]
    assert server.gui_scanning == 1


async def test_an_error_in_the_hold_gives_the_generator_back() -> None:
    """Leaving a hold by an error is leaving it."""
    server = ScriptedServer(gui_scanning=1)
    async with connected(server) as microscope:
        with pytest.raises(ZeroDivisionError):
            async with microscope.acquisition():
                raise ZeroDivisionError
        assert server.gui_scanning == 1


@pytest.mark.parametrize(
    "at", ["half an image", "GUIGetScanning", "GUISetScanning", "DtGetChannels", "ScScanXY"]
)
async def test_a_cancelled_scan_leaves_the_microscope_as_found(at: str) -> None:
    """Wherever it is cancelled, the scan is stopped and the live picture is back when the call ends."""
    server = ScriptedServer(gui_scanning=1, send_image=half_an_image)
    async with connected(server) as microscope:
        scan = asyncio.ensure_future(microscope.scan(REQUEST))
        await server.event(at).wait()
        scan.cancel()
        await asyncio.wait([scan], timeout=2.0)

        assert scan.cancelled()
        assert server.gui_scanning == 1
        if "ScScanXY" in server.names:
            assert "ScStopScan" in server.names[server.names.index("ScScanXY") :]
        server.send_image = None
        await microscope.scan(REQUEST)


async def test_a_link_lost_in_a_scan_is_made_good_at_the_next_connect() -> None:
    """The scan that went on is stopped and the live picture started again before anything else."""
    server = ScriptedServer(gui_scanning=1, send_image=half_an_image)
    async with serving(server):
        async with connect_sharksem(server.settings()) as microscope:
            scan = asyncio.ensure_future(microscope.scan(REQUEST))
            await server.event("half an image").wait()
            assert server.control is not None
            server.control.transport.abort()
            with pytest.raises(LinkError, match="connection"):
                await scan
        assert server.gui_scanning == 0
        server.calls.clear()
        async with connect_sharksem(server.settings()) as microscope:
            assert server.gui_scanning == 1
            assert "ScStopScan" in server.names
            server.calls.clear()
        async with connect_sharksem(server.settings()):
            assert "GUISetScanning" not in server.names
