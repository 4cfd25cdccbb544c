"""The column's state: lens, stage, and what only a judge may know."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest

from focusd.frame import ScanRegion, StagePosition
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.options import ColumnOptions, Plateau
from focusd.simulator.presets import seed_column
from tests.unit.simulator.scenes import QUIET, SMALL, Clock, column, defocused, detail, scan


def test_working_distance_is_limited_silently() -> None:
    """Out of range goes to the limit, and the readback tells."""
    microscope = column()

    assert microscope.set_working_distance(2.0) == 4.0
    assert microscope.set_working_distance(99.0) == 30.0
    assert microscope.working_distance_mm == 30.0
    assert microscope.set_working_distance(math.nan) == 30.0


def test_every_command_is_logged() -> None:
    """The log holds what was asked, what became of it, and when."""
    clock = Clock()
    microscope = column(clock=clock)

    microscope.set_working_distance(9.5)
    clock.now_s += 3.0
    microscope.set_working_distance(99.0)

    assert [(move.at_s, move.requested_mm, move.set_mm) for move in microscope.moves] == [
        (100.0, 9.5, 9.5),
        (103.0, 99.0, 30.0),
    ]


def test_scans_are_logged_with_their_dose() -> None:
    """One microsecond of 100 pA is 624 electrons a pixel; a region takes only its own."""
    microscope = column()
    microscope.set_working_distance(9.004)

    microscope.expose(scan(region=ScanRegion(0, 0, 100, 50)))

    (entry,) = microscope.scans
    assert entry.electrons == pytest.approx(624.15 * 5000, rel=1e-3)
    assert entry.defocus_um == pytest.approx(4.0)
    assert entry.working_distance_mm == 9.004
    assert microscope.scan_count == 1


def test_lens_lags_behind_by_its_play() -> None:
    """From below the focus stays half the play short, from above half too far; small moves do nothing."""
    microscope = column(replace(QUIET, backlash_um=2.0))

    microscope.set_working_distance(9.1)
    from_below = microscope.actual_working_distance_mm
    microscope.set_working_distance(9.0985)
    within = microscope.actual_working_distance_mm
    microscope.set_working_distance(9.0)
    from_above = microscope.actual_working_distance_mm

    assert from_below == pytest.approx(9.099)
    assert within == pytest.approx(9.099)
    assert from_above == pytest.approx(9.001)
    assert microscope.working_distance_mm == 9.0


def test_settings_repeat_only_within_their_jitter() -> None:
    """The same setpoint gives another focus each time, with the stated spread and the same readback."""
    microscope = column(replace(QUIET, setting_jitter_um=0.5))

    errors = []
    for _ in range(400):
        assert microscope.set_working_distance(9.0) == 9.0
        errors.append(microscope.true_defocus_um())

    assert (sum(error**2 for error in errors) / 400) ** 0.5 == pytest.approx(0.5, rel=0.15)
    assert abs(sum(errors) / 400) < 0.1


def test_height_shortens_the_working_distance_that_focuses() -> None:
    """Tilt, steps and stage height all move the best focus towards the lens."""
    relief = replace(SMALL, tilt_um_per_mm=(10.0, 0.0), plateaus=(Plateau(6.0, left_mm=0.35),))
    microscope = column(specimen=relief)

    assert microscope.best_focus_mm() == pytest.approx(9.0)
    assert microscope.best_focus_mm(0.3, 0.0) == pytest.approx(9.0 - 0.003)
    microscope.move_stage(x_mm=0.4, z_mm=0.5)
    assert microscope.best_focus_mm() == pytest.approx(9.0 - 0.004 - 0.006 - 0.5)
    assert microscope.true_defocus_um() == pytest.approx(510.0)


def test_image_shift_looks_at_another_place() -> None:
    """Image shift moves the field over texture and relief as the stage does."""
    relief = replace(SMALL, tilt_um_per_mm=(10.0, 0.0))
    shifted, moved = column(specimen=relief), column(specimen=relief)

    shifted.image_shift_mm = (0.0003, -0.0004)
    moved.move_stage(x_mm=0.0003, y_mm=-0.0004)

    assert shifted.best_focus_mm() == moved.best_focus_mm()
    assert (shifted.render(scan()) == moved.render(scan())).all()


def test_focus_drifts_with_the_clock() -> None:
    """An hour moves the best focus by the stated amount; the readback knows nothing of it."""
    clock = Clock()
    microscope = column(replace(QUIET, focus_drift_um_per_hour=12.0), clock=clock)

    clock.now_s += 1800.0

    assert microscope.true_defocus_um() == pytest.approx(-6.0)
    assert microscope.working_distance_mm == 9.0


def test_image_is_sharpest_where_the_judge_says() -> None:
    """Detail falls off on either side of the true focus, wherever relief and drift have put it."""
    microscope = column(specimen=replace(SMALL, plateaus=(Plateau(7.0),)))

    details = [detail(defocused(microscope, at)) for at in (-6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0)]

    assert details[:4] == sorted(details[:4])
    assert details[3:] == sorted(details[3:], reverse=True)


def test_stage_axes_left_out_stay() -> None:
    """Each axis moves alone, within its travel."""
    microscope = column()

    microscope.move_stage(x_mm=1.0, y_mm=2.0, z_mm=3.0, rotation_deg=10.0, tilt_deg=5.0)
    position = microscope.move_stage(y_mm=99.0, tilt_deg=-80.0, x_mm=math.nan)

    assert position == StagePosition(1.0, 50.0, 3.0, 10.0, -60.0)
    assert microscope.stage_position == position


def test_depth_of_field_is_the_pixel_over_the_half_angle() -> None:
    """10 nm pixels and 5 mrad give 2 um; half the columns double it; the seed model knows 10 mm only."""
    microscope = column()

    assert microscope.depth_of_field_um(256) == pytest.approx(2.0)
    assert microscope.depth_of_field_um(128) == pytest.approx(4.0)
    assert column(seed_column()).depth_of_field_um(1024) == 10_000.0


def test_field_of_view_follows_the_working_distance() -> None:
    """One percent each millimetre, when the option says so, and the image widens with it."""
    microscope = column(replace(QUIET, field_change_percent_per_mm=1.0))

    microscope.set_working_distance(11.0)

    assert microscope.field_of_view_mm == pytest.approx(256e-5 * 1.02)
    assert microscope.field_of_view_setting_mm == 256e-5
    microscope.field_of_view_setting_mm = 0.1
    assert microscope.field_of_view_mm == pytest.approx(0.102)


def test_defaults_are_a_microscope_in_focus() -> None:
    """Without any option the column stands in focus on 10 nm pixels."""
    microscope = SimulatedColumn(clock=Clock())

    assert microscope.true_defocus_um() == 0.0
    assert microscope.depth_of_field_um(1024) == pytest.approx(2.0)
    assert microscope.beam_on
    assert not microscope.blanked
    assert microscope.selected_detector == microscope.detectors[0].number


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(ColumnOptions, limits_mm=(9.0, 9.0)), "limits_mm must be low below high, got 9 and 9"),
        (partial(ColumnOptions, half_angle_mrad=0.0), "half_angle_mrad must be above 0, got 0"),
        (partial(ColumnOptions, field_of_view_mm=-1.0), "field_of_view_mm must be above 0, got -1"),
        (partial(ColumnOptions, detectors=()), "detectors must name at least one"),
        (partial(ColumnOptions, seed=-1), "seed must not be negative, got -1"),
    ],
)
def test_meaningless_option_is_named(make: partial[ColumnOptions], message: str) -> None:
    """An option with which nothing could be rendered says so at once."""
    with pytest.raises(ValueError, match=message):
        make()
