"""Micro-Manager's real core behind its bridge, with focusd's default method and metric."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.bridges.demo_camera import OFFSET_MM, Z_LIMITS_UM, bridge, bridge_module, load, write_config, z_um
from tests.bridges.test_micromanager import ACCEPTED_UM, CAMERA_PX, shared_core, until_refocused
from tests.loopback.bench import daemon

STARTS_UM = (3.0, -3.0, 8.0, -8.0, 15.0, -15.0)
Sections = dict[str, dict[str, object]]


def sections(*, depth_of_field_um: float = 1.0, trigger: str = "interval") -> Sections:
    """Give what deploy/bridges/README.md tells a user of a camera to write: no word of method or metric."""
    return {
        "microscope": {
            "driver": "bridge",
            "limits": {"working_distance_mm": [9.95, 10.05]},
            "working_distance_tolerance_um": 0.1,
        },
        "scan": {"width": CAMERA_PX, "height": CAMERA_PX, "trigger": trigger, "interval_s": 0.05},
        "refocus": {"depth_of_field_um": depth_of_field_um, "max_change_um": 50.0},
    }


@pytest.mark.parametrize("start_um", STARTS_UM)
async def test_a_daemon_that_is_started_and_left_alone_brings_beads_into_focus(
    tmp_path: Path, start_um: float
) -> None:
    """Its first frame is out of focus; nobody asks for anything."""
    with bridge(write_config(tmp_path, z_um=start_um)) as port:
        async with daemon(port, tmp_path, **sections()) as client:
            record = await until_refocused(client, 1)
            status = await client.until(lambda status: status["state"] == "monitoring")

    assert record["method"] == "spectral"
    assert record["metric"] == "log_energy"
    assert record["trigger"] == "first_frame"
    assert record["result"] == "refocused", record["reason"]
    assert abs(z_um(status["column"]["working_distance_mm"])) < ACCEPTED_UM
    assert len(record["scans"]) <= 6


@pytest.mark.parametrize("depth_of_field_um", [1.0, 2.0])
async def test_each_request_ends_in_focus(tmp_path: Path, depth_of_field_um: float) -> None:
    """From all six places in turn; also with the depth of field said to be twice what it is, the default."""
    told = sections(depth_of_field_um=depth_of_field_um, trigger="request")
    ends_um, results = [], []
    with bridge(write_config(tmp_path)) as port:
        async with daemon(port, tmp_path, **told) as client:
            await client.until(lambda status: status["column"] is not None)
            for start_um in STARTS_UM:
                place = {"working_distance_mm": OFFSET_MM + start_um / 1e3}
                assert (await client.call("PUT", "v1/microscope/working-distance", place))[0] == 200
                _, record = await client.call("POST", "v1/refocuses?wait=true")
                ends_um.append(z_um(record["final_working_distance_mm"]))
                results.append(record["result"])

    assert results == ["refocused"] * len(STARTS_UM)
    assert max(map(abs, ends_um)) < ACCEPTED_UM


@pytest.mark.parametrize("lost_um", [-15.0, 8.0])
async def test_focus_that_is_lost_raises_the_alarm_and_is_mended(tmp_path: Path, lost_um: float) -> None:
    """The probe takes beads that are brighter out of focus for what they are, and the search goes on."""
    core = load(shared_core(), write_config(tmp_path))
    with bridge_module().sharing(core, Z_LIMITS_UM, port=0, pixel_size_um=1.0) as serving:
        async with daemon(serving.port, tmp_path, **sections()) as client:
            await client.until(lambda status: status["counters"]["frames_judged"] >= 5)
            await asyncio.to_thread(core.setPosition, lost_um)
            status = await client.until(
                lambda status: (
                    (status["last_refocus"] or {}).get("trigger") == "drift"
                    and status["state"] == "monitoring"
                )
            )

    assert status["last_refocus"]["result"] == "refocused", status["last_refocus"]["reason"]
    assert abs(core.getPosition()) < ACCEPTED_UM
