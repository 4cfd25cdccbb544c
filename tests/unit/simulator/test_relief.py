"""Height of the surface, and the endless random landscapes it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.simulator.options import Plateau, SpecimenOptions
from focusd.simulator.relief import Relief
from focusd.simulator.waves import Waves


def test_tilt_rises_along_both_axes() -> None:
    """Tilt is micrometres of height for each millimetre."""
    relief = Relief(SpecimenOptions(tilt_um_per_mm=(3.0, -2.0)))

    assert relief.height_um(0.0, 0.0) == 0.0
    assert relief.height_um(0.5, 0.0) == pytest.approx(1.5)
    assert relief.height_um(0.0, 0.5) == pytest.approx(-1.0)


def test_plateau_raises_its_rectangle_only() -> None:
    """Steps are sheer, may be endless, and add up where they overlap."""
    relief = Relief(
        SpecimenOptions(
            plateaus=(Plateau(5.0, left_mm=1.0), Plateau(2.0, 0.5, 0.5, right_mm=2.0, bottom_mm=2.0))
        )
    )

    heights = [
        relief.height_um(x, y) for x, y in ((0.0, 0.0), (0.99, 0.0), (1.0, -9.0), (0.6, 0.6), (1.5, 1.5))
    ]

    assert heights == [0.0, 0.0, 5.0, 2.0, 7.0]


def test_bumps_have_the_stated_height() -> None:
    """Bumps spread by their standard deviation over many times their size."""
    relief = Relief(SpecimenOptions(bumps_um=4.0, bump_size_mm=0.05, seed=3))

    heights = relief.on_grid(np.linspace(0, 5, 300), np.linspace(0, 5, 300))

    assert heights.std() == pytest.approx(4.0, rel=0.1)
    assert abs(heights.mean()) < 0.6


def test_single_height_is_that_of_the_grid() -> None:
    """One place and a whole field are computed alike."""
    relief = Relief(SpecimenOptions(tilt_um_per_mm=(1.0, 2.0), bumps_um=4.0))
    x, y = np.linspace(-1, 1, 5), np.linspace(0, 2, 4)

    grid = relief.on_grid(x, y)

    assert grid.shape == (4, 5)
    assert relief.height_um(x[3], y[1]) == pytest.approx(grid[1, 3], abs=1e-4)


def test_waves_are_normal_and_change_over_their_size() -> None:
    """Mean 0, spread 1, and correlated over the stated distance."""
    waves = Waves(0.05, 7, 1)
    axis = np.arange(0, 6, 0.01)

    values = waves.on_grid(axis, axis)

    assert values.std() == pytest.approx(1.0, rel=0.1)
    near = float((values[:, 1:] * values[:, :-1]).mean() / values.var())
    far = float((values[:, 20:] * values[:, :-20]).mean() / values.var())
    assert near > 0.95
    assert abs(far) < 0.3
    assert waves.on_grid(axis[3:4], axis[5:6])[0, 0] == pytest.approx(values[5, 3], abs=1e-4)
    assert not np.allclose(values, Waves(0.05, 8, 1).on_grid(axis, axis))
