"""The ready-made microscopes and the specimen of the demonstration."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.simulator.options import SpecimenOptions
from focusd.simulator.presets import TileScan, demo_specimen, seed_column, worn_column
from focusd.simulator.relief import Relief
from tests.unit.simulator.scenes import column


def heights(scan: TileScan, options: SpecimenOptions, depth_of_field_um: float) -> list[float]:
    """Height of each tile in order of visit, in depths of field."""
    relief = Relief(options)
    return [relief.height_um(x, y) / depth_of_field_um for x, y in scan.positions_mm()]


def test_tiles_are_visited_to_and_fro() -> None:
    """Every tile once, each next to the one before, around the origin."""
    scan = TileScan(3, 2, pitch_mm=1.0)

    assert scan.positions_mm() == [
        (-1.0, -0.5),
        (0.0, -0.5),
        (1.0, -0.5),
        (1.0, 0.5),
        (0.0, 0.5),
        (-1.0, 0.5),
    ]


@pytest.mark.parametrize("tile", [1, 3, 4, 5])
def test_ground_after_a_tile_is_what_is_visited_from_there(tile: int) -> None:
    """The raised ground begins with the tile, whichever way its row is walked."""
    scan = TileScan(3, 2, pitch_mm=1.0)

    raised = heights(scan, SpecimenOptions(plateaus=scan.after(tile, 2.0)), 1.0)

    assert raised == [0.0] * tile + [2.0] * (6 - tile)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("scan", "depth_um"), [(TileScan(), 2.0), (TileScan(6, 5, 0.02), 0.7)])
def test_demo_loses_focus_slowly_and_three_times_at_once(scan: TileScan, depth_um: float, seed: int) -> None:
    """Tens of depths of field from end to end, mostly under one from tile to tile, three steps of 4 to 8."""
    along = heights(scan, demo_specimen(scan, depth_of_field_um=depth_um, seed=seed), depth_um)

    changes = np.abs(np.diff(along))
    steps = changes[changes > 3]
    assert 18 < np.ptp(along) < 40
    assert len(steps) == 3
    assert 4 < steps.min() <= steps.max() < 8.5
    assert (changes < 1).mean() > 0.85


def test_seed_column_is_the_published_one() -> None:
    """Best focus at 50 mm, up to 100 mm within reach, starting at 10."""
    microscope = column(seed_column())

    assert microscope.working_distance_mm == 10.0
    assert microscope.best_focus_mm() == 50.0
    assert microscope.set_working_distance(100.0) == 100.0


def test_worn_column_has_faults_that_can_be_seen() -> None:
    """The same setpoint from either side is another focus, half a depth of field apart."""
    microscope = column(worn_column(seed=4))

    microscope.set_working_distance(8.9)
    microscope.set_working_distance(9.0)
    from_below = microscope.true_defocus_um()
    microscope.set_working_distance(9.1)
    microscope.set_working_distance(9.0)

    assert microscope.true_defocus_um() - from_below == pytest.approx(1.0, abs=0.8)
