"""Micro-Manager's real core behind its bridge: the whole way from the daemon to the demo camera and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from focusd_bridge import Image, Region, Scan

from focusd.cli.bridge.bench import CheckOptions
from focusd.cli.bridge.run import Outcome
from tests.bridges.demo_camera import (
    OFFSET_MM,
    Z_LIMITS_UM,
    adapters,
    bridge,
    bridge_module,
    load,
    write_config,
    z_um,
)
from tests.bridges.lab import Caller
from tests.loopback.bench import Client, daemon
from tests.loopback.bridge_check_rig import failures, run, with_outcome

CAMERA_PX = 512
ACCEPTED_UM = 0.5

# What deploy/bridges/README.md tells a user of a camera to write.
SECTIONS: dict[str, dict[str, object]] = {
    "microscope": {
        "driver": "bridge",
        "limits": {"working_distance_mm": [9.95, 10.05]},
        "working_distance_tolerance_um": 0.1,
    },
    "scan": {"width": CAMERA_PX, "height": CAMERA_PX, "trigger": "interval", "interval_s": 0.05},
    "refocus": {
        "method": "brent",
        "metric": "band_ratio",
        "depth_of_field_um": 1.0,
        "max_change_um": 50.0,
    },
}


async def until_refocused(client: Client, count: int) -> dict[str, Any]:
    """Wait for the end of so many refocuses and a frame judged after it; give the last."""
    await client.until(lambda status: status["column"] is not None)
    while True:
        status = await client.until(
            lambda status: status["last_refocus"] is not None and status["current_refocus"] is None
        )
        records: list[dict[str, Any]] = (await client.get("v1/refocuses"))["refocuses"]
        if len(records) >= count:
            return dict(status["last_refocus"])
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("start_um", [3.0, -3.0, 8.0, -8.0, 15.0, -15.0])
async def test_beads_are_brought_into_focus_by_nobody(tmp_path: Path, start_um: float) -> None:
    """A drive that starts beside focus, a daemon that is started, and nothing else."""
    with bridge(write_config(tmp_path, z_um=start_um)) as port:
        async with daemon(port, tmp_path, **SECTIONS) as client:
            record = await until_refocused(client, 1)
            status = await client.until(lambda status: status["state"] == "monitoring")

    assert record["result"] == "refocused", record["reason"]
    assert abs(z_um(status["column"]["working_distance_mm"])) < ACCEPTED_UM
    assert len(record["scans"]) <= 10
    assert status["microscope"]["vendor"] == "Micro-Manager"


async def test_the_bridge_keeps_every_rule(tmp_path: Path) -> None:
    """With the real core behind it; the drive is left where it was."""
    options = CheckOptions(beyond_limits=True, side_px=256)
    with bridge(write_config(tmp_path, z_um=4.0)) as port:
        findings = await run(port, options)

    skipped = with_outcome(findings, Outcome.SKIP)
    assert failures(findings) == {}
    assert set(skipped) == {"stigmator", "auto-contrast", "blanker", "subscribe", "frames"}


# --- what a camera and a drive become ---


def instrument(folder: Path, **options: Any) -> Any:
    """Give the instrument over a core of its own, opened."""
    module = bridge_module()
    camera = options.pop("camera", {})
    config = write_config(folder, **camera)
    made = module.MicroManager(
        lambda: load(module.Core(), config), Z_LIMITS_UM, **{"pixel_size_um": 0.5} | options
    )
    made.open()
    return made


def taken(image: Image) -> np.ndarray:
    """Give an image's pixels."""
    return np.frombuffer(image.pixels, "u1" if image.bits_per_pixel == 8 else "<u2").reshape(
        image.rows, image.columns
    )


def whole(width: int, height: int, *, region: Region | None = None, dwell_time_us: float = 1.0) -> Scan:
    """Give a scan, of all of its field unless told otherwise."""
    return Scan(width, height, dwell_time_us, region or Region(0, 0, width, height))


@pytest.mark.parametrize(("is_reversed", "expected_mm"), [(False, 10.007), (True, 9.993)])
def test_position_and_working_distance_are_mapped(
    tmp_path: Path, is_reversed: bool, expected_mm: float
) -> None:
    """Either sign, positive, and back again to the drive."""
    made = instrument(tmp_path, is_reversed=is_reversed, camera={"z_um": 7.0})

    read_mm = made.get_state()["working_distance_mm"]
    set_mm = made.set_working_distance(10.012)

    assert read_mm == pytest.approx(expected_mm, abs=1e-9)
    assert set_mm == pytest.approx(10.012, abs=1e-9)
    assert made._core.getPosition() == pytest.approx(-12.0 if is_reversed else 12.0, abs=1e-6)
    assert made.limits_mm == pytest.approx((9.95, 10.05))


def test_limits_without_a_positive_working_distance_are_refused() -> None:
    """The drive's range must lie inside the offset."""
    with pytest.raises(ValueError, match="working distances"):
        bridge_module().MicroManager(lambda: None, (-50.0, 50.0), offset_mm=0.02)


def test_a_narrow_image_is_binned_and_a_region_is_cut(tmp_path: Path) -> None:
    """Each pixel is the mean of those it covers; the field of view is that of the image."""
    made = instrument(tmp_path)
    full = taken(made.scan(whole(512, 512))).astype(float)

    binned = made.scan(whole(256, 192))
    part = made.scan(whole(256, 192, region=Region(30, 40, 64, 48)))
    cut = made.scan(whole(200, 512 // 2))

    rows = full[64:448].reshape(192, 2, 256, 2).mean(axis=(1, 3))
    assert np.abs(taken(binned) - rows).max() <= 0.5
    assert np.array_equal(taken(part), taken(binned)[40:88, 30:94])
    assert binned.state == {"field_of_view_um": 256.0}
    assert cut.state == {"field_of_view_um": 200.0}
    assert taken(cut).shape == (256, 200)


def test_an_image_larger_than_the_cameras_is_refused(tmp_path: Path) -> None:
    """It cannot be made up."""
    made = instrument(tmp_path)
    for width, height in ((1024, 1024), (512, 513), (256, 300)):
        with pytest.raises(Exception, match="512 x 512"):
            made.scan(whole(width, height))


def test_longer_dwell_time_means_more_exposures(tmp_path: Path) -> None:
    """The mean of them: as bright, less noise."""
    made = instrument(tmp_path, dwell_us=2.0, camera={"Mode": "Noise", "PixelType": "16bit"})
    once = [taken(made.scan(whole(512, 512, dwell_time_us=2.0))).astype(float) for _ in range(2)]
    often = [taken(made.scan(whole(512, 512, dwell_time_us=32.0))).astype(float) for _ in range(2)]

    noise = [np.std(one - other) for one, other in (once, often)]
    assert np.mean(often[0]) == pytest.approx(np.mean(once[0]), rel=0.02)
    assert noise[1] < 0.4 * noise[0]


def test_full_scale_is_full_scale(tmp_path: Path) -> None:
    """Twelve bits are shifted up to sixteen."""
    made = instrument(tmp_path, camera={"PixelType": "16bit", "BitDepth": "12"})
    raw = made._core.getImageBitDepth()
    image = made.scan(whole(512, 512))

    assert raw == 12
    assert image.bits_per_pixel == 16
    assert (taken(image) % 16 == 0).all()
    assert taken(image).max() > 0


# --- a program that has a core of its own ---


def test_a_programs_own_images_are_pushed(tmp_path: Path) -> None:
    """What it snaps, and what its acquisition engine takes; what focusd scans is not told twice."""
    module = bridge_module()
    core = load(shared_core(), write_config(tmp_path, z_um=2.0))
    with module.sharing(core, Z_LIMITS_UM, port=0) as serving, Caller(serving) as caller:
        caller.ask("subscribe")
        core.snapImage()
        own = core.getImage()
        snapped, pixels = caller.receive()
        scanned = caller.ask("scan", width=512, height=512, dwell_time_us=1.0)
        useq = pytest.importorskip("useq")
        core.mda.run(useq.MDASequence(time_plan={"interval": 0, "loops": 2}))
        frames = [caller.receive()[0] for _ in range(2)]
        core.setPosition(5.0)
        state = caller.ask("get_state")["result"]

    assert pixels == own.tobytes()
    assert snapped["params"]["state"]["working_distance_mm"] == pytest.approx(OFFSET_MM + 0.002)
    assert scanned["result"]["shape"] == [CAMERA_PX, CAMERA_PX]
    assert [each["method"] for each in frames] == ["frame", "frame"]
    assert [each["params"]["frame_id"] for each in frames] == ["2", "3"]
    assert state["working_distance_mm"] == pytest.approx(OFFSET_MM + 0.005)


def test_an_image_that_cannot_be_pushed_does_not_end_the_programs_acquisition(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Colour is no grey: it is told once, in the log, and the next grey image is pushed."""
    module = bridge_module()
    core = load(shared_core(), write_config(tmp_path, Mode="Artificial Waves"))
    with module.sharing(core, Z_LIMITS_UM, port=0) as serving, Caller(serving) as caller:
        caller.ask("subscribe")
        core.setProperty("Camera", "PixelType", "32bitRGB")
        core.snapImage()
        core.snapImage()
        core.setProperty("Camera", "PixelType", "8bit")
        core.snapImage()
        told, _ = caller.receive()

    assert told["params"]["frame_id"] == "1"
    complaints = [each for each in caplog.records if "cannot be pushed" in each.message]
    assert len(complaints) == 1


def test_nothing_is_touched_while_the_program_acquires(tmp_path: Path) -> None:
    """During a sequence moves and scans are refused as busy; after it they are not."""
    module = bridge_module()
    core = load(shared_core(), write_config(tmp_path))
    with module.sharing(core, Z_LIMITS_UM, port=0) as serving, Caller(serving) as caller:
        core.startContinuousSequenceAcquisition(0)
        refused = [
            caller.error_of("set_working_distance", working_distance_mm=10.01),
            caller.error_of("scan", width=512, height=512, dwell_time_us=1.0),
        ]
        core.stopSequenceAcquisition()
        moved = caller.ask("set_working_distance", working_distance_mm=10.01)

    assert refused == [(-32001, "an acquisition is running in Micro-Manager")] * 2
    assert moved["result"]["working_distance_mm"] == pytest.approx(10.01)


def shared_core() -> Any:
    """Give a ``CMMCorePlus`` of its own."""
    adapters()
    return pytest.importorskip("pymmcore_plus").CMMCorePlus()
