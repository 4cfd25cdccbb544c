"""The AutoScript bridge's contract with the SDK, as far as a stand-in for it can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from focusd_bridge import Bridge

from focusd.cli.bridge.bench import CheckOptions
from focusd.cli.bridge.run import Outcome
from tests.bridges.fake_autoscript import ApplicationServerError, FakeMicroscope, install
from tests.bridges.lab import Caller, served
from tests.loopback.bench import DEPTH_OF_FIELD_UM, daemon, make_column
from tests.loopback.bridge_check_rig import failures, run, with_outcome

SCAN = {"width": 128, "height": 96, "dwell_time_us": 1.0}
MOVE = "set_working_distance"


@pytest.fixture
def microscope() -> FakeMicroscope:
    """Give the microscope behind the SDK."""
    return FakeMicroscope(make_column("gold", working_distance_mm=9.0))


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch, microscope: FakeMicroscope) -> Iterator[Bridge]:
    """Serve it, limited to 4 to 30 mm; the SDK itself goes to 20.1."""
    instrument = install(monkeypatch, microscope).AutoScript("sdk", 7520, 1, (4.0, 30.0))
    instrument.poll_interval_s = 0.01
    with served(instrument) as bridge:
        yield bridge
        microscope.hold.set()


async def test_every_rule_is_kept(bridge: Bridge, microscope: FakeMicroscope) -> None:
    """One thread alone calls the SDK, and the operator's view is as it was."""
    findings = await run(bridge.port, CheckOptions(beyond_limits=True, side_px=128))

    assert failures(findings) == {}
    assert set(with_outcome(findings, Outcome.SKIP)) == {"auto-contrast", "frames", "capabilities"}
    assert len(microscope.threads) == 1
    assert microscope.active_view == 2


async def test_focus_is_found_through_it(bridge: Bridge, microscope: FakeMicroscope, tmp_path: Path) -> None:
    """The daemon, four depths of field away."""
    microscope.column.set_working_distance(9.008)
    async with daemon(bridge.port, tmp_path, microscope={"driver": "bridge"}) as client:
        await client.until(lambda status: status["column"] is not None)
        _, answer = await client.call("POST", "v1/scans")

    assert answer["refocus"]["result"] == "refocused", answer["refocus"]["reason"]
    assert abs(microscope.column.true_defocus_um()) < DEPTH_OF_FIELD_UM


def test_units_are_converted_at_the_border(bridge: Bridge, microscope: FakeMicroscope) -> None:
    """Metres, volts, amperes and radians; five micrometres are five micrometres."""
    with Caller(bridge) as caller:
        hello = caller.ask("hello")["result"]
        moved = caller.ask(MOVE, working_distance_mm=9.005)["result"]
        state = caller.ask("get_state")["result"]

    assert "working_distance 0.009005" in microscope.calls
    assert moved["working_distance_mm"] == pytest.approx(9.005, abs=1e-9)
    assert hello["limits"]["working_distance_mm"] == pytest.approx([4.0, 20.1])
    assert (hello["vendor"], hello["model"], hello["serial"]) == ("Thermo Fisher", "Stand-in", "7")
    assert state["field_of_view_um"] == pytest.approx(microscope.column.field_of_view_mm * 1e3)
    assert state["accelerating_voltage_kv"] == pytest.approx(microscope.column.accelerating_voltage_kv)
    assert state["probe_current_pa"] == pytest.approx(50.0)
    assert state["stage_position"] == pytest.approx(
        {"x_mm": 1.0, "y_mm": -2.0, "z_mm": 4.0, "rotation_deg": 90.0, "tilt_deg": 30.0}
    )


def test_the_sdks_own_limits_count_too(bridge: Bridge, microscope: FakeMicroscope) -> None:
    """It is never asked to go beyond them."""
    with Caller(bridge) as caller:
        code, _ = caller.error_of(MOVE, working_distance_mm=20.2)

    assert code == -32002
    assert not any(call.startswith("working_distance") for call in microscope.calls)


def test_limits_with_nothing_in_common_are_an_error(
    monkeypatch: pytest.MonkeyPatch, microscope: FakeMicroscope
) -> None:
    """No bridge comes of it, and the SDK is let go."""
    instrument = install(monkeypatch, microscope).AutoScript("sdk", 7520, 1, (25.0, 30.0))

    with pytest.raises(Exception, match="not 25"), Bridge(instrument, port=0):
        pass

    assert microscope.calls[-1] == "disconnect"


@pytest.mark.parametrize("bits", [8, 16])
def test_a_region_is_scanned_by_itself(bridge: Bridge, microscope: FakeMicroscope, bits: int) -> None:
    """A little more than it is asked for, and cut: the SDK rounds its sides."""
    region = {"x": 33, "y": 21, "width": 41, "height": 31}
    with Caller(bridge) as caller:
        caller.send(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "scan",
                "params": SCAN | {"region": region, "bits_per_pixel": bits},
            }
        )
        answer, pixels = caller.receive()

    assert answer["result"]["shape"] == [31, 41]
    assert len(pixels) == 31 * 41 * bits // 8
    left, top, width, height = microscope.areas[-1]
    assert (left * 128, top * 96) == pytest.approx((29, 17))
    assert (width * 128, height * 96) == pytest.approx((49, 39))


def test_the_operators_view_is_given_back(bridge: Bridge, microscope: FakeMicroscope) -> None:
    """After a scan, and after one that failed; what the SDK said is told."""
    with Caller(bridge) as caller:
        caller.ask("scan", **SCAN)
        done = microscope.active_view
        microscope.failure = ("grab_frame", ApplicationServerError("the chamber is vented"))
        told = caller.error_of("scan", **SCAN)

    assert microscope.calls.count("grab_frame in view 1") == 2
    assert (done, microscope.active_view) == (2, 2)
    assert told == (-32010, "ApplicationServerError: the chamber is vented")


def test_nothing_is_scanned_without_a_beam(bridge: Bridge, microscope: FakeMicroscope) -> None:
    """It is said, and no frame is grabbed."""
    microscope.beam_on = False
    with Caller(bridge) as caller:
        code, _ = caller.error_of("scan", **SCAN)

    assert code == -32003
    assert not any(call.startswith("grab") for call in microscope.calls)


def test_an_sdk_that_hangs_never_gets_a_second_call(bridge: Bridge, microscope: FakeMicroscope) -> None:
    """The scan is an error, and so is all else until the SDK has come back."""
    microscope.hold.clear()
    bridge._instrument.scan_margin_s = 0.3
    with Caller(bridge) as caller:
        hung = caller.error_of("scan", **SCAN)
        calls = list(microscope.calls)
        refused = caller.error_of(MOVE, working_distance_mm=9.1)

    assert microscope.hung.is_set()
    assert (hung[0], refused[0]) == (-32010, -32010)
    assert "hangs in scan" in refused[1]
    assert microscope.calls == calls


def test_a_lost_server_is_connected_again(bridge: Bridge, microscope: FakeMicroscope) -> None:
    """The next call goes through a new connection."""
    with Caller(bridge) as caller:
        microscope.failure = ("grab_frame", ConnectionResetError("gone"))
        caller.error_of("scan", **SCAN)
        microscope.failure = None
        answer = caller.ask("scan", **SCAN)

    assert "result" in answer
    assert microscope.calls.count("connect sdk:7520") == 2


def test_the_owners_images_are_watched_and_nothing_is_done_for_it(
    bridge: Bridge, microscope: FakeMicroscope
) -> None:
    """Told once, with its own working distance; not half scanned, not of another view, not focusd's own."""
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    with Caller(bridge) as caller:
        caller.ask("scan", **SCAN)
        microscope.active_view = 1
        microscope.acquiring = True
        caller.ask("subscribe")
        before = list(microscope.calls)
        microscope.views[1] = microscope.adorned(pixels)
        microscope.column.set_working_distance(9.002)
        microscope.acquiring = False
        frame, data = caller.receive()
        microscope.views[1] = microscope.adorned(pixels + 1)
        second, _ = caller.receive()
        after = microscope.calls[len(before) :]

    assert data == pixels.tobytes()
    assert frame["params"]["shape"] == [6, 8]
    assert frame["params"]["state"]["working_distance_mm"] == pytest.approx(9.0)
    assert second["params"]["frame_id"] == "2"
    assert "get_image" not in before
    assert set(after) <= {"get_image", "is_on"}
