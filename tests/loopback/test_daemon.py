"""The main job, end to end: hold the link, judge, notice, refocus, prove, put back."""

from __future__ import annotations

from pathlib import Path

import pytest

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen
from tests.loopback.bench import DEPTH_OF_FIELD_UM, connected, daemon, make_column


@pytest.mark.parametrize("texture", ["gold", "fibres", "porous", "neuropil"])
async def test_focus_is_found_lost_and_found_again(tmp_path: Path, texture: str) -> None:
    """First focus, then a specimen that sinks by 8 depths of field: noticed, followed, and sharp again."""
    column = make_column(texture, working_distance_mm=9.008)
    async with connected(column, tmp_path) as client:
        _, first = await client.call("POST", "v1/scans")
        assert first["refocus"]["result"] == "refocused", first["refocus"]["reason"]
        assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM

        column.move_stage(z_mm=-0.016)
        _, lost = await client.call("POST", "v1/scans")
        _, after = await client.call("POST", "v1/scans")

    assert lost["verdict"]["verdict"] == "suspect"
    assert lost["refocus"]["result"] == "refocused", lost["refocus"]["reason"]
    assert lost["refocus"]["gain"] > 1
    assert after["verdict"]["verdict"] == "in_focus"
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


async def test_focus_lost_altogether_is_found_again(tmp_path: Path) -> None:
    """So far out that a probe sees nothing: one blind alarm proves nothing, the fourth is searched from."""
    column = make_column(working_distance_mm=9.0)
    refocus: dict[str, object] = {"depth_of_field_um": DEPTH_OF_FIELD_UM}
    async with connected(column, tmp_path, refocus=refocus) as client:
        await client.call("POST", "v1/scans")
        column.move_stage(z_mm=-0.11)
        results = []
        for tile in range(60):
            column.move_stage(x_mm=0.02 * tile)
            _, answer = await client.call("POST", "v1/scans")
            if answer["refocus"] is not None:
                results.append((answer["refocus"]["trigger"], answer["refocus"]["result"]))
            if results and results[-1][1] == "refocused":
                break

    assert results[:-1] == [("drift", "blind")] * 3
    assert results[-1] == ("blind_alarms", "refocused")
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


async def test_blank_resin_is_left_alone(tmp_path: Path) -> None:
    """Where there is nothing to focus on, the lens never moves and no baseline is made."""
    column = SimulatedColumn(
        ColumnOptions(field_of_view_mm=0.00256, working_distance_mm=9.01),
        Specimen(SpecimenOptions(texture="gold", texture_side_px=512, blank_fraction=1.0)),
    )
    async with connected(column, tmp_path) as client:
        answers = [(await client.call("POST", "v1/scans"))[1] for _ in range(4)]
        status = await client.get("v1/status")

    assert [answer["verdict"]["verdict"] for answer in answers] == ["unjudgeable"] * 4
    assert status["baseline"] is None
    assert list(column.moves) == []


async def test_a_refocus_started_by_hand_is_kept_with_its_evidence(tmp_path: Path) -> None:
    """Started over HTTP, waited for, and read back from the store with each of its scans."""
    column = make_column(working_distance_mm=9.012)
    async with connected(column, tmp_path) as client:
        status, started = await client.call("POST", "v1/refocuses")
        assert status == 202
        refocus_id = started["refocus_id"]
        await client.until(lambda status: status["last_refocus"] is not None)
        stored = await client.get(f"v1/refocuses/{refocus_id}")
        _, again = await client.call("POST", "v1/refocuses?wait=true")

    assert stored["result"] == "refocused"
    assert stored["gain"] > 1
    assert len(stored["scans"]) >= 4
    assert stored["start_working_distance_mm"] == 9.012
    assert again["result"] == "confirmed_in_focus"


async def test_cancel_over_http_puts_the_lens_back(tmp_path: Path) -> None:
    """DELETE ends the run within a scan and answers when the lens is back."""
    column = make_column(working_distance_mm=9.012)
    async with (
        SharkSEMServer(column, time_scale=1) as server,
        daemon(server.port, tmp_path, scan={"dwell_time_us": 4.0}) as client,
    ):
        await client.until(lambda status: status["column"] is not None)
        _, started = await client.call("POST", "v1/refocuses")
        await client.until(
            lambda status: bool(status["current_refocus"]) and len(status["current_refocus"]["scans"]) >= 2
        )
        status, ended = await client.call("DELETE", f"v1/refocuses/{started['refocus_id']}")

    assert status == 200
    assert ended["result"] == "cancelled"
    assert column.working_distance_mm == pytest.approx(9.012, abs=1e-9)


async def test_moves_by_hand_stay_within_the_limits(tmp_path: Path) -> None:
    """A working distance outside the limits is refused with the range, and nothing is sent."""
    column = make_column()
    async with connected(column, tmp_path) as client:
        status, problem = await client.call(
            "PUT", "v1/microscope/working-distance", {"working_distance_mm": 31.0}
        )
        assert status == 422
        assert "between 4 and 30 mm" in problem["detail"]
        assert list(column.moves) == []
        status, moved = await client.call(
            "PUT", "v1/microscope/working-distance", {"working_distance_mm": 9.5}
        )
        assert status == 200, moved

    assert column.working_distance_mm == 9.5


async def test_a_sixteen_bit_region_is_judged_and_focused(tmp_path: Path) -> None:
    """Depth and region are as configured."""
    column = make_column(working_distance_mm=9.008, field_of_view_mm=0.00512)
    region = {"x": 100, "y": 120, "width": 256, "height": 192}
    async with connected(
        column, tmp_path, scan={"width": 512, "height": 512, "bits_per_pixel": 16, "region": region}
    ) as client:
        _, answer = await client.call("POST", "v1/scans")

    assert answer["refocus"]["result"] == "refocused", answer["refocus"]["reason"]
    assert answer["verdict"]["condition"].endswith("256x192-16bit")
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM


async def test_frames_are_taken_by_themselves_and_kept(tmp_path: Path) -> None:
    """With an interval nobody has to ask; verdicts can be paged, newest first, also by a later daemon."""
    column = make_column()
    async with connected(column, tmp_path, scan={"trigger": "interval", "interval_s": 0.0}) as client:
        await client.until(lambda status: status["counters"]["frames_judged"] >= 5)
    async with connected(column, tmp_path) as client:
        page = await client.get("v1/frames?limit=3")

    ids = [frame["frame_id"] for frame in page["frames"]]
    assert len(ids) == 3
    assert ids == sorted(ids, reverse=True)


async def test_waits_for_a_microscope_and_comes_back_after_it_was_gone(tmp_path: Path) -> None:
    """Unreachable at first, then there, then gone, then there again: HTTP answers all the time."""
    column = make_column()
    async with SharkSEMServer(column, time_scale=0) as server:
        port = server.port
    async with daemon(port, tmp_path, microscope={"timeouts": {"reconnect_max_s": 0.2}}) as client:
        status = await client.until(lambda status: status["link"]["error"] is not None)
        assert status["state"] == "disconnected"
        assert "connection" in status["reason"]
        code, problem = await client.call("POST", "v1/scans")
        assert code == 503
        assert "not connected" in problem["detail"]
        for _ in range(2):
            async with SharkSEMServer(column, port=port, time_scale=0):
                await client.until(lambda status: status["column"] is not None)
                code, _ = await client.call("POST", "v1/scans")
                assert code == 200
            await client.until(lambda status: not status["link"]["connected"])
