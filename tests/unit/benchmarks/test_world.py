"""The microscope of a trial stands where the trial says, and counts what is done with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focusd.frame import ScanRegion
from tests.benchmarks import specimens
from tests.benchmarks.world import (
    DISTANCES,
    MAX_SCANS,
    RANGE_DEPTHS,
    Environment,
    OutOfScansError,
    Trial,
    make_scope,
)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("environment", ["std", "rough"])
def test_a_trial_starts_as_far_from_focus_as_its_class(environment: Environment, distance: str) -> None:
    """The start lies in the class's range, on either side, and focus well within the lens's travel."""
    low, high = DISTANCES[distance]
    starts = []
    for index in range(8):
        scope = make_scope(Trial(environment, "resin", 20.0, distance, index, seed=1))
        starts.append(scope.defocus_depths)
        bottom_mm, top_mm = scope.limits_mm
        assert bottom_mm < scope.working_distance_mm < top_mm
        assert bottom_mm < scope.column.best_focus_mm() < top_mm
        assert (top_mm - bottom_mm) * 1000 == pytest.approx(RANGE_DEPTHS * 2.0)

    played = scope.is_repeatable_to_depths
    assert all(low - played <= abs(start) <= high + played for start in starts)
    assert min(starts) < 0.0 < max(starts)


def test_everybody_is_given_the_same_trial() -> None:
    """The same trial has the same field, start and noise; another index has others."""
    trial = Trial("rough", "gold", 20.0, "small", 0, seed=1)

    first, second = make_scope(trial), make_scope(trial)
    other = make_scope(Trial("rough", "gold", 20.0, "small", 1, seed=1))

    assert np.array_equal(first.scan(), second.scan())
    assert first.defocus_depths == second.defocus_depths != other.defocus_depths


def test_dose_is_counted_in_full_frames() -> None:
    """A quarter of the field is a quarter of a frame, twice the dwell twice the dose."""
    scope = make_scope(Trial("std", "resin", 20.0, "small", 0, seed=1))

    scope.scan()
    scope.scan(ScanRegion(0, 0, 256, 256))
    scope.scan(dwell_time_us=2.0)

    assert scope.scans == 3
    assert scope.dose_frames == pytest.approx(1.0 + 0.25 + 2.0)


@pytest.mark.parametrize("dose", [200.0, 20.0, 3.0])
def test_dose_is_electrons_a_pixel_at_mid_grey(dose: float) -> None:
    """The scatter of an even field is that of so many counted electrons, whatever the contrast."""
    scope = make_scope(Trial("std", "resin", dose, "small", 0, seed=1))
    setting = scope.column.settings[scope.column.selected_detector]
    gain = 2.0 ** ((setting.gain_percent - 50.0) / 10.0)

    pixels = scope.scan().astype(float)

    grey = (pixels.mean() - (setting.black_percent - 50.0) * 10.0) / gain
    expected = gain * 128.0 / dose * np.sqrt(grey / 128.0 * dose)
    assert pixels.std() == pytest.approx(expected, rel=0.1)
    assert np.mean((pixels == 0) | (pixels == 255)) < 0.03


def test_rough_mode_is_told_a_wrong_depth_of_field() -> None:
    """The strategy hears 30 % too much, the judge does not."""
    smooth, rough = (make_scope(Trial(env, "resin", 20.0, "small", 0, seed=1)) for env in ("std", "rough"))

    assert rough.depth_mm == pytest.approx(1.3 * smooth.depth_mm)
    assert abs(rough.defocus_depths) < 7.0


def test_a_strategy_that_never_ends_is_stopped() -> None:
    """After so many scans the microscope refuses."""
    scope = make_scope(Trial("std", "resin", 200.0, "small", 0, seed=1))
    region = ScanRegion(0, 0, 64, 64)

    for _ in range(MAX_SCANS):
        scope.scan(region)

    with pytest.raises(OutOfScansError):
        scope.scan(region)


def test_real_pictures_are_used_when_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the folder of real pictures the drawn specimens remain, the blank ones last."""
    monkeypatch.setenv("FOCUSD_TEST_DATA", str(tmp_path))

    names = specimens.image_names()

    assert not [name for name in names if name.startswith("real")]
    assert names[-len(specimens.BLANK_IMAGES) :] == specimens.BLANK_IMAGES
