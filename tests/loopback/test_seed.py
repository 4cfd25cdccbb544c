"""All of it works on the published reference model too: blurred pixels without noise, over real TCP.

One pixel of blur each 10 mm of working distance, best focus at 50 mm, whole kernels only: near focus a
picture does not change for millimetres, and the working distance need only be right within such a step.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, SpecimenOptions
from focusd.simulator.specimen import Specimen
from tests.loopback.bench import connected

BEST_MM = 50.0
DEPTH_MM = 10.0


def seed_column(working_distance_mm: float) -> SimulatedColumn:
    """Make a column with the published optics."""
    return SimulatedColumn(
        ColumnOptions(
            optics="seed",
            best_focus_mm=BEST_MM,
            working_distance_mm=working_distance_mm,
            limits_mm=(1.0, 120.0),
            field_of_view_mm=0.00512,
        ),
        Specimen(SpecimenOptions(texture="gold", texture_side_px=512)),
    )


def settings(**refocus: object) -> dict[str, dict[str, object]]:
    """Give the daemon's settings for these optics."""
    return {
        "microscope": {"limits": {"working_distance_mm": [10.0, 100.0]}},
        "scan": {"width": 512, "height": 512},
        "refocus": {"depth_of_field_um": 1000.0 * DEPTH_MM, "max_change_um": 100_000.0, **refocus},
    }


@pytest.mark.parametrize("method", ["brent", "spectral"])
@pytest.mark.parametrize("start_mm", [10.0, 25.0, 72.0, 95.0])
async def test_each_method_finds_the_published_focus(tmp_path: Path, method: str, start_mm: float) -> None:
    """From either side, near and far, within the step in which the model's picture does not change."""
    column = seed_column(start_mm)
    async with connected(column, tmp_path, **settings(method=method)) as client:
        _, record = await client.call("POST", "v1/refocuses?wait=true")

    assert record["result"] == "refocused", record["reason"]
    assert record["final_working_distance_mm"] == pytest.approx(BEST_MM, abs=DEPTH_MM)
    assert len(record["scans"]) <= 10


async def test_the_published_call_in_its_own_words(tmp_path: Path) -> None:
    """Five evaluations over the whole range end near 50 mm from 10 mm."""
    column = seed_column(10.0)
    async with connected(column, tmp_path, **settings(method="brent-wide", wide_maxiter=5)) as client:
        _, record = await client.call("POST", "v1/refocuses?wait=true")

    assert record["result"] == "refocused", record["reason"]
    assert record["final_working_distance_mm"] == pytest.approx(BEST_MM, abs=6.0)
    assert [scan["role"] for scan in record["scans"]].count("search") == 5


@pytest.mark.parametrize("detector", ["ratio", "cusum", "ewma"])
async def test_a_loss_of_focus_is_noticed_and_mended(tmp_path: Path, detector: str) -> None:
    """First focus, then three depths of field off: out of focus, probed, and sharp again."""
    column = seed_column(25.0)
    drift: dict[str, object] = {"detector": detector}
    async with connected(column, tmp_path, drift=drift, **settings()) as client:
        _, first = await client.call("POST", "v1/scans")
        for _ in range(3):
            _, steady = await client.call("POST", "v1/scans")
        assert steady["verdict"]["verdict"] == "in_focus"
        column.set_working_distance(column.working_distance_mm + 3 * DEPTH_MM)
        for _ in range(12):
            _, lost = await client.call("POST", "v1/scans")
            if lost["refocus"] is not None:
                break
        _, after = await client.call("POST", "v1/scans")

    assert first["refocus"]["result"] == "refocused", first["refocus"]["reason"]
    assert lost["refocus"]["result"] == "refocused", lost["refocus"]["reason"]
    assert lost["refocus"]["scans"][1]["role"] == "probe"
    assert lost["refocus"]["final_working_distance_mm"] == pytest.approx(BEST_MM, abs=DEPTH_MM)
    assert after["verdict"]["verdict"] == "in_focus"


async def test_a_false_alarm_moves_nothing(tmp_path: Path) -> None:
    """With a baseline of something sharper the probe finds the lens in focus, and leaves it there."""
    column = seed_column(BEST_MM)
    async with connected(column, tmp_path, drift={"frames_below": 1}, **settings()) as client:
        await client.call("POST", "v1/scans")
        at_mm = column.working_distance_mm
        (baseline,) = (await client.get("v1/baselines"))["baselines"]
        sharper = {name: 2.0 * sharpness for name, sharpness in baseline["sharpness"].items()}
        await client.call("PUT", f"v1/baselines/{baseline['condition']}", {"sharpness": sharper})
        _, answer = await client.call("POST", "v1/scans")

    assert answer["refocus"]["result"] == "not_focus_related", answer["refocus"]["reason"]
    assert column.working_distance_mm == at_mm
