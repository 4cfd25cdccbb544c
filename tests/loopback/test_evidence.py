"""Whatever a refocus ends with, the daemon tells over HTTP what it did and why it ended so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.sharksem_server import SharkSEMServer
from focusd.simulator.specimen import Specimen
from tests.loopback.bench import DEPTH_OF_FIELD_UM, FIELD_MM, Client, connected, daemon, make_column

JUDGED_AT_ONCE = {"frames_below": 1, "frames_window": 1}
METHODS = ("brent", "spectral")


def faint_column(**options: Any) -> SimulatedColumn:
    """Make a column over empty resin."""
    return SimulatedColumn(
        ColumnOptions(**({"field_of_view_mm": FIELD_MM} | options)),
        Specimen(SpecimenOptions(texture="gold", texture_side_px=512, blank_fraction=1.0)),
    )


def check_scans(record: dict[str, Any]) -> None:
    """Check what every record tells of each scan it took, and what they cost together."""
    for index, scan in enumerate(record["scans"]):
        assert scan["index"] == index
        assert scan["role"] in {"start", "probe", "search", "verification"}
        assert scan["dwell_time_us"] > 0
        assert scan["region"] is None or set(scan["region"]) == {"x", "y", "width", "height"}
        assert {"1.4", "2", "4"} <= set(scan["energies"])
        assert set(scan["energy_standard_errors"]) == set(scan["energies"])
        assert all(error > 0 for error in scan["energy_standard_errors"].values())
        assert scan["sharpness_standard_error"] > 0
        assert "reason" in scan
    assert record["beam_time_s"] == pytest.approx(sum(scan["beam_time_s"] for scan in record["scans"]))
    assert record["dose_frames"] == pytest.approx(record["beam_time_s"] / record["frame_beam_time_s"])
    assert record["condition"]
    assert record["duration_s"] > 0
    assert record["reason"]


async def stored(client: Client, refocus_id: int) -> dict[str, Any]:
    """Give a finished refocus as the history has it, which is as it was answered."""
    record: dict[str, Any] = await client.get(f"v1/refocuses/{refocus_id}")
    listed = (await client.get("v1/refocuses"))["refocuses"]
    assert next(one for one in listed if one["refocus_id"] == refocus_id) == record
    check_scans(record)
    return record


async def refocused(client: Client) -> dict[str, Any]:
    """Refocus by hand, and give the record."""
    _, answer = await client.call("POST", "v1/refocuses?wait=true")
    return await stored(client, answer["refocus_id"])


@pytest.mark.parametrize("method", METHODS)
async def test_a_refocus_that_found_focus_tells_where_and_how_surely(tmp_path: Path, method: str) -> None:
    """Posterior, depth of field, acceptance figures and dose; then that it is in focus, and why."""
    column = make_column(working_distance_mm=9.012)
    async with connected(column, tmp_path, refocus={"method": method}) as client:
        found = await refocused(client)
        confirmed = await refocused(client)

    assert (found["result"], confirmed["result"]) == ("refocused", "confirmed_in_focus")
    assert found["focus_mm"] == pytest.approx(9.0, abs=0.003)
    assert 0 < found["focus_sd_um"] < DEPTH_OF_FIELD_UM
    assert found["depth_of_field_um"] == pytest.approx(DEPTH_OF_FIELD_UM, rel=0.5)
    assert found["probability_nearer"] > 0.8
    assert found["z_score"] > 2
    assert found["gain"] > 1
    assert found["trigger"] == "request"
    assert confirmed["probability_nearer"] is None
    assert confirmed["focus_mm"] == pytest.approx(confirmed["start_working_distance_mm"], abs=0.003)


async def test_a_place_without_detail_is_told_with_the_figures_it_was_judged_by(tmp_path: Path) -> None:
    """``no_peak`` on empty resin: each scan with the reason why it cannot be judged, and the lens is back."""
    async with connected(faint_column(), tmp_path) as client:
        record = await refocused(client)

    assert record["result"] == "no_peak"
    assert {scan["reason"] for scan in record["scans"]} == {"no_signal"}
    assert record["final_working_distance_mm"] == record["start_working_distance_mm"]


@pytest.mark.parametrize("method", METHODS)
async def test_focus_beyond_the_range_is_told_with_where_it_seems_to_lie(tmp_path: Path, method: str) -> None:
    """``edge_of_range`` names the bound; the lens is where it was."""
    column = make_column(working_distance_mm=9.04)
    async with connected(column, tmp_path, refocus={"method": method, "max_change_um": 15.0}) as client:
        record = await refocused(client)

    assert record["result"] == "edge_of_range", record["reason"]
    assert record["focus_mm"] < 9.025
    assert record["final_working_distance_mm"] == 9.04


class Sinking(SimulatedColumn):
    """A column whose specimen is carried away just before one of the scans."""

    sinks_before_scan: int | None = None

    def expose(self, *arguments: Any, **options: Any) -> Any:
        """Scan as ever, but on the ground as it lies then."""
        if self.scan_count + 1 == self.sinks_before_scan:
            self.move_stage(z_mm=-0.06)
        return super().expose(*arguments, **options)


async def test_a_picture_that_got_no_sharper_is_told_with_the_test_it_failed(tmp_path: Path) -> None:
    """``worse_than_start``: posterior, gain and z of the last scan against the first; the lens is back."""
    options = ColumnOptions(field_of_view_mm=FIELD_MM, working_distance_mm=9.012)
    specimen = Specimen(SpecimenOptions(texture="gold", texture_side_px=512))
    refocus: dict[str, object] = {"method": "brent"}
    async with connected(SimulatedColumn(options, specimen), tmp_path / "good", refocus=refocus) as client:
        good = await refocused(client)
    column = Sinking(options, specimen)
    column.sinks_before_scan = len(good["scans"])
    async with connected(column, tmp_path / "bad", refocus=refocus) as client:
        record = await refocused(client)

    assert good["scans"][-1]["role"] == record["scans"][-1]["role"] == "verification"
    assert record["result"] == "worse_than_start", record["reason"]
    assert record["z_score"] < 0
    assert record["gain"] < 1
    assert record["focus_sd_um"] > 0
    assert record["final_working_distance_mm"] == record["start_working_distance_mm"] == 9.012


@asynccontextmanager
async def monitored(column: SimulatedColumn, state: Path, **drift: object) -> AsyncIterator[Client]:
    """Run a daemon that has focused its first frame and judges the next ones each by itself."""
    async with connected(column, state, drift=JUDGED_AT_ONCE | drift) as client:
        _, first = await client.call("POST", "v1/scans")
        assert first["refocus"]["result"] in {"refocused", "confirmed_in_focus"}
        yield client


async def test_a_change_of_specimen_is_told_with_the_probes_figures(tmp_path: Path) -> None:
    """``not_focus_related``: start and probe, where focus lies, and how unlikely it is lost."""
    column = make_column("gold", working_distance_mm=9.0)
    async with monitored(column, tmp_path) as client:
        (baseline,) = (await client.get("v1/baselines"))["baselines"]
        sharper = {name: 2.0 * sharpness for name, sharpness in baseline["sharpness"].items()}
        await client.call("PUT", f"v1/baselines/{baseline['condition']}", {"sharpness": sharper})
        _, answer = await client.call("POST", "v1/scans")
        record = await stored(client, answer["refocus"]["refocus_id"])

    assert record["result"] == "not_focus_related"
    assert {scan["role"] for scan in record["scans"]} == {"start", "probe"}
    assert record["scans"][0]["beam_time_s"] == 0.0
    assert record["probability_lost"] < 0.5
    assert record["focus_mm"] == pytest.approx(9.0, abs=0.003)
    assert record["focus_sd_um"] > 0
    assert record["frame_id"] == answer["verdict"]["frame_id"]
    assert record["final_working_distance_mm"] == record["start_working_distance_mm"]


async def test_a_place_with_too_little_to_see_is_told_with_the_probes_figures(tmp_path: Path) -> None:
    """``blind``: so far away that three scans do not tell where focus is, which their posterior says."""
    column = make_column("gold", working_distance_mm=9.0, probe_current_pa=5.0)
    async with monitored(column, tmp_path, lost_signal_frames=1) as client:
        column.move_stage(z_mm=-0.06)
        _, answer = await client.call("POST", "v1/scans")
        record = await stored(client, answer["refocus"]["refocus_id"])

    assert (answer["verdict"]["verdict"], answer["verdict"]["reason"]) == ("out_of_focus", "lost_signal")
    assert record["result"] == "blind", record["reason"]
    assert {scan["role"] for scan in record["scans"]} == {"start", "probe"}
    assert record["scans"][0]["reason"] == "no_signal"
    assert record["focus_sd_um"] > 6 * DEPTH_OF_FIELD_UM
    assert 0 < record["probability_lost"] < 1
    assert record["final_working_distance_mm"] == record["start_working_distance_mm"]


async def test_a_cancelled_refocus_keeps_what_it_has_seen(tmp_path: Path) -> None:
    """``cancelled`` with who cancelled it and each scan that was taken."""
    column = make_column(working_distance_mm=9.012)
    async with (
        SharkSEMServer(column, time_scale=1) as server,
        daemon(server.port, tmp_path, scan={"dwell_time_us": 4.0}) as client,
    ):
        await client.until(lambda status: status["column"] is not None)
        _, started = await client.call("POST", "v1/refocuses", {"keep_spectra": True})
        await client.until(
            lambda status: bool(status["current_refocus"]) and len(status["current_refocus"]["scans"]) >= 2
        )
        await client.call("DELETE", f"v1/refocuses/{started['refocus_id']}")
        record = await stored(client, started["refocus_id"])
        kept = await client.get(f"v1/refocuses/{started['refocus_id']}/spectra")

    assert (record["result"], record["reason"]) == ("cancelled", "cancelled on request")
    assert len(record["scans"]) >= 2
    assert len(kept["spectra"]) == len(record["scans"])
    assert record["final_working_distance_mm"] == pytest.approx(9.012, abs=1e-9)


async def test_each_frame_comes_with_its_figures_and_why_it_cannot_be_judged(tmp_path: Path) -> None:
    """The reason is a code, and the figures it was found by are there, also in the history of frames."""
    column = make_column()
    setting = next(iter(column.settings.values()))
    async with connected(column, tmp_path, refocus={"mode": "advise"}) as client:

        async def frame() -> dict[str, Any]:
            _, answer = await client.call("POST", "v1/scans")
            verdict: dict[str, Any] = answer["verdict"]
            assert await client.get(f"v1/frames/{verdict['frame_id']}") == verdict
            return verdict

        good = await frame()
        await client.call("POST", "v1/baselines/capture")
        for _ in range(5):
            await frame()
        setting.gain_percent = 45.0
        darker = await frame()
        setting.gain_percent = 85.0
        saturated = await frame()
        setting.gain_percent, column.blanked = 50.0, True
        blanked = await frame()

    assert (good["reason"], darker["reason"]) == (None, "gain_changed")
    assert (saturated["reason"], blanked["reason"]) == ("saturated", "no_signal")
    assert good["signal_to_noise"] > 8
    assert saturated["saturated_fraction"] > 0.25
    assert saturated["verdict"] == blanked["verdict"] == "unjudgeable"
    assert darker["mean_level"] < 0.9 * good["mean_level"]
    assert blanked["contrast"] < 0.1 * good["contrast"]
    assert blanked["signal_to_noise"] < 8
    assert blanked["sharpness"] is None
    assert 0 <= good["dark_fraction"] < 0.5


@pytest.mark.parametrize(
    ("configured", "body", "expected"),
    [
        (False, None, 404),
        (False, {"keep_spectra": True}, 200),
        (True, None, 200),
        (True, {"keep_spectra": False}, 404),
    ],
)
async def test_spectra_are_kept_if_asked(
    tmp_path: Path, configured: bool, body: dict[str, bool] | None, expected: int
) -> None:
    """By the configuration or by the request, which has the last word; one spectrum a scan, as measured."""
    column = make_column(working_distance_mm=9.012)
    async with connected(column, tmp_path, refocus={"keep_spectra": configured}) as client:
        _, record = await client.call("POST", "v1/refocuses?wait=true", body)
        status, kept = await client.call("GET", f"v1/refocuses/{record['refocus_id']}/spectra")

    assert status == expected, kept
    assert record["keep_spectra"] is (expected == 200)
    if expected == 200:
        assert len(kept["spectra"]) == len(record["scans"])
        for spectrum in kept["spectra"]:
            rings = len(spectrum["frequency_cycles_per_px"])
            assert 20 <= rings <= 36
            assert len(spectrum["power"]) == len(spectrum["modes"]) == rings
            assert spectrum["frequency_cycles_per_px"] == sorted(spectrum["frequency_cycles_per_px"])
            assert 0 < spectrum["corner_power"] < spectrum["power"][0]
