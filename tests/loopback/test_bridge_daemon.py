"""The main job over the bridge protocol, end to end: daemon and simulated bridge over real TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from focusd.config import MicroscopeSettings
from focusd.frame import ScanRequest
from focusd.simulator.bridge_server import BridgeServer
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.specimen import Specimen
from tests.loopback.bench import DEPTH_OF_FIELD_UM, FIELD_MM, Client, daemon, make_column

LIMITS = {"working_distance_mm": [4.0, 30.0]}


@asynccontextmanager
async def connected(
    column: SimulatedColumn, state: Path, **sections: dict[str, object]
) -> AsyncIterator[tuple[Client, BridgeServer]]:
    """Run bridge and daemon in this process, and wait until they are connected."""
    async with BridgeServer(column, time_scale=0) as server:
        microscope = {"driver": "bridge"} | sections.pop("microscope", {})
        async with daemon(server.port, state, microscope=microscope, **sections) as client:
            await client.until(lambda status: status["link"]["connected"] and status["column"] is not None)
            yield client, server


@pytest.mark.parametrize("bits_per_pixel", [8, 16])
async def test_focus_is_found_lost_and_found_again(tmp_path: Path, bits_per_pixel: int) -> None:
    """First focus, then a specimen that sinks by 8 depths of field: noticed, followed, and sharp again."""
    column = make_column("gold", working_distance_mm=9.008)
    scan: dict[str, object] = {"bits_per_pixel": bits_per_pixel}
    async with connected(column, tmp_path, scan=scan) as (client, server):
        _, first = await client.call("POST", "v1/scans")
        assert first["refocus"]["result"] == "refocused", first["refocus"]["reason"]
        assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM

        column.move_stage(z_mm=-0.016)
        answers = [(await client.call("POST", "v1/scans"))[1] for _ in range(3)]
        _, after = await client.call("POST", "v1/scans")
        held = set(server.instrument.contrast_frozen_for)

    # How soon an alarm is raised is the detector's business.
    assert answers[0]["verdict"]["verdict"] != "in_focus"
    assert "refocused" in [answer["refocus"]["result"] for answer in answers if answer["refocus"]]
    assert after["verdict"]["verdict"] == "in_focus"
    assert after["verdict"]["condition"].endswith(f"{bits_per_pixel}bit")
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM
    assert held == set(), "automatic contrast is let go after a refocus"


async def test_slow_drift_is_followed(tmp_path: Path) -> None:
    """Focus creeps away by a quarter of the depth of field from frame to frame: it never gets far."""
    now_s = 0.0
    column = SimulatedColumn(
        ColumnOptions(field_of_view_mm=FIELD_MM, focus_drift_um_per_hour=0.25 * DEPTH_OF_FIELD_UM),
        Specimen(SpecimenOptions(texture="gold", texture_side_px=512)),
        clock=lambda: now_s,
    )
    defocus_um, results = [], []
    async with connected(column, tmp_path) as (client, _):
        for _ in range(32):
            now_s += 3600.0
            _, answer = await client.call("POST", "v1/scans")
            defocus_um.append(abs(column.true_defocus_um()))
            results += [answer["refocus"]["result"]] if answer["refocus"] else []

    assert max(defocus_um) < 3 * DEPTH_OF_FIELD_UM
    assert results.count("refocused") >= 2
    assert column.best_focus_mm() - 9.0 == pytest.approx(32 * 0.25 * DEPTH_OF_FIELD_UM * 1e-3)


async def test_who_answers_is_told(tmp_path: Path) -> None:
    """Identity, narrower limits and state reach the status."""
    column = make_column(limits_mm=(5.0, 12.0))
    async with connected(column, tmp_path) as (client, _):
        status = await client.get("v1/status")

    assert status["microscope"]["model"] == "simulated microscope"
    assert status["limits_mm"] == [5.0, 12.0]
    assert status["column"]["detector"] == "SE"


async def test_a_lost_beam_loses_frames_and_nothing_else(tmp_path: Path) -> None:
    """While the beam is off a scan is refused with the bridge's words; then work goes on."""
    column = make_column()
    async with connected(column, tmp_path) as (client, server):
        server.faults.beam_off = True
        code, problem = await client.call("POST", "v1/scans")
        assert code >= 400
        assert "beam off (-32003): the high voltage is off" in problem["detail"]
        server.faults.beam_off = False
        code, _ = await client.call("POST", "v1/scans")
        assert code == 200


async def test_a_crashed_bridge_is_waited_for_and_the_lens_put_back(tmp_path: Path) -> None:
    """A connection lost in the middle of a refocus: after the reconnect the lens stands where it stood."""
    column = make_column(working_distance_mm=9.012)
    timeouts = {"reconnect_max_s": 0.2}
    async with BridgeServer(column, time_scale=1) as server:
        microscope: dict[str, object] = {"driver": "bridge", "timeouts": timeouts}
        async with daemon(
            server.port, tmp_path, microscope=microscope, scan={"dwell_time_us": 4.0}
        ) as client:
            await client.until(lambda status: status["column"] is not None)
            _, started = await client.call("POST", "v1/refocuses")
            await client.until(
                lambda status: (
                    bool(status["current_refocus"]) and len(status["current_refocus"]["scans"]) >= 2
                )
            )
            server.close_connections()
            await client.until(
                lambda status: status["link"]["reconnects"] >= 1 and status["column"] is not None
            )
            ended = await client.get(f"v1/refocuses/{started['refocus_id']}")

    assert ended["result"] == "link_lost"
    assert column.working_distance_mm == pytest.approx(9.012, abs=1e-9)


async def test_cancel_puts_the_lens_back(tmp_path: Path) -> None:
    """A scan cannot be broken off on a bridge: its end is waited for, then the lens goes back."""
    column = make_column(working_distance_mm=9.012)
    async with BridgeServer(column, time_scale=1) as server:
        microscope: dict[str, object] = {"driver": "bridge"}
        async with daemon(
            server.port, tmp_path, microscope=microscope, scan={"dwell_time_us": 4.0}
        ) as client:
            await client.until(lambda status: status["column"] is not None)
            _, started = await client.call("POST", "v1/refocuses")
            await client.until(
                lambda status: (
                    bool(status["current_refocus"]) and len(status["current_refocus"]["scans"]) >= 2
                )
            )
            _, ended = await client.call("DELETE", f"v1/refocuses/{started['refocus_id']}")

    assert ended["result"] == "cancelled"
    assert column.working_distance_mm == pytest.approx(9.012, abs=1e-9)


async def test_the_owners_frames_do_not_disturb(tmp_path: Path) -> None:
    """Images that the instrument's owner takes are no answer to anybody."""
    column = make_column()
    async with connected(column, tmp_path) as (client, server):
        for session in server.sessions:
            session.subscribed = True
        await server.acquire(ScanRequest(128, 128, 1.0))
        code, answer = await client.call("POST", "v1/scans")

    assert code == 200
    assert answer["verdict"]["condition"].endswith("256x256-8bit")


def test_the_smallest_configuration_finds_the_bridge() -> None:
    """Driver and limits are enough on one's own computer."""
    settings: dict[str, Any] = {"driver": "bridge", "limits": LIMITS}

    assert MicroscopeSettings.model_validate(settings).port == 8460
