"""The whole-scan benchmark loses focus as described and judges each tile by its last take."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import scan
from tests.benchmarks.keepers import (
    EVERY_TILE,
    OWN,
    OWN_FOLLOWING,
    PUBLISHED_MAXITER,
    TIMES_TAKEN_AT_MOST,
    WAYS,
    EveryTile,
)
from tests.benchmarks.landscape import DRIFT, STEPS, Landscape
from tests.benchmarks.report import Report
from tests.benchmarks.scan_result import ScanResult

SIDE = 4


@pytest.fixture(scope="module")
def report() -> Report:
    """Give a scan of a few tiles in every way."""
    return scan.run(scan.ScanOptions(side=SIDE, dose=100.0, texture="gold", processes=1))


def test_each_way_takes_its_tiles(report: Report) -> None:
    """Every way has a row; each tile is taken at least once and not more often than allowed."""
    assert [row[0] for row in report.tables[0].rows] == list(WAYS)
    for trial in report.trials:
        taken = [times for times in trial["times_taken"] if times]
        assert len(taken) == SIDE**2 / (EveryTile.stride if trial["way"] == EVERY_TILE else 1)
        assert max(taken) <= TIMES_TAKEN_AT_MOST


def test_doing_nothing_costs_nothing_and_a_search_each_tile_its_scans(report: Report) -> None:
    """Extra scans are those beyond one a tile."""
    table = report.tables[0]

    assert table.row("never refocus")["extra scans a tile"] == 0.0
    assert table.row(EVERY_TILE)["extra scans a tile"] == PUBLISHED_MAXITER
    assert table.row(EVERY_TILE)["searches"] == SIDE**2 / EveryTile.stride


def test_focusd_keeps_more_in_focus_than_doing_nothing(report: Report) -> None:
    """On clear pictures focusd brings back what the steps of the specimen lose."""
    table = report.tables[0]
    share, untouched = (table.row(way)["within 2 D %"] for way in (OWN, "never refocus"))

    assert isinstance(share, float)
    assert isinstance(untouched, float)
    assert share > untouched
    assert report.draw().axes


def test_what_the_extra_scans_are_for_adds_up(report: Report) -> None:
    """Every scan of focusd beyond one a tile has a purpose, and so has its dose."""
    own, spent = report.tables[0].row(OWN), report.tables[1]

    for total, column in (("extra scans a tile", "scans a tile"), ("extra dose", "dose a tile")):
        parts = [spent.row(str(row[0]))[column] for row in spent.rows]
        assert all(isinstance(part, float) for part in parts)
        assert sum(float(str(part)) for part in parts) == pytest.approx(own[total], abs=1e-6)


def test_a_scan_that_tells_where_its_tiles_are_is_kept_in_focus_too(report: Report) -> None:
    """As much as without."""
    shares = [report.tables[0].row(way)["within 2 D %"] for way in (OWN, OWN_FOLLOWING)]

    assert shares[1] == pytest.approx(shares[0], abs=15.0)


def test_a_landscape_may_do_without_steps() -> None:
    """Tilt, bumps and drift stay."""
    smooth, stepped = (
        Landscape(side=SIDE, dose=100.0, texture="resin", seed=3, steps=steps).scope.column.specimen.options
        for steps in ((), STEPS)
    )

    assert (smooth.plateaus, len(stepped.plateaus)) == ((), 2 * len(STEPS))
    assert smooth.tilt_um_per_mm == stepped.tilt_um_per_mm
    assert smooth.bumps_um == stepped.bumps_um


def test_landscape_begins_in_focus_and_moves_away() -> None:
    """The operator has focused on the first tile; steps and drift then take the focus away."""
    ground = Landscape(side=SIDE, dose=100.0, texture="resin", seed=3)
    scope = ground.scope
    assert abs(scope.defocus_depths) < 0.05

    heights = []
    for tile in range(ground.tiles):
        ground.go_to(tile)
        scope.scan()
        heights.append(scope.defocus_depths)

    jumps = np.abs(np.diff(heights))
    at = [round(share * ground.tiles) - 1 for share, _ in STEPS]
    assert all(jumps[index] > 2.0 for index in at)
    before = scope.column.best_focus_mm()
    ground.clock.moves += 100
    assert scope.column.best_focus_mm() > before
    assert DRIFT > 0.0


def test_result_counts_needless_searches() -> None:
    """A search begun within one depth of field of focus had no need to run."""
    result = ScanResult(
        "way", 1, 1, scans=5, searched_from_depths=[0.2, -0.9, 1.1], defocus_depths=[1.0, 3.0]
    )

    assert result.needless_searches == 2
    assert result.in_focus_percent == 50.0
    assert result.extra_scans == 1.5
