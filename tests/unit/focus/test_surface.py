"""The focus surface: what few points are worth, how sure it is, and what does not lead it astray."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.focus.surface import FocusSample, FocusSurface
from focusd.focus.surface_model import POINT_SD_DEPTHS
from focusd.simulator.options import SpecimenOptions
from focusd.simulator.relief import Relief

DEPTH_UM = 2.0
FIELD_MM = 0.005
HOUR_S = 3600.0
POINT_SD_UM = 0.5

Focus = Callable[[float, float, float], float]
"""Working distance in mm that focuses at x, y (mm) and a time (s)."""


def point(x_mm: float, y_mm: float, at_s: float, working_distance_mm: float) -> FocusSample:
    """Make a point."""
    return FocusSample(x_mm, y_mm, at_s, working_distance_mm, POINT_SD_UM)


def fit(*samples: FocusSample) -> FocusSurface:
    """Fit with the tests' optics."""
    return FocusSurface.fit(samples, depth_of_field_um=DEPTH_UM, field_mm=FIELD_MM)


def plane(x_mm: float, y_mm: float, at_s: float) -> float:
    """A tilted specimen under a column that drifts: 30 and -20 um per mm, 40 um per hour."""
    return 9.0 + (30.0 * x_mm - 20.0 * y_mm + 40.0 * at_s / HOUR_S) / 1000.0


def found(focus: Focus, count: int, random: np.random.Generator, extent_mm: float = 0.1) -> list[FocusSample]:
    """Find focus at places all over, a minute apart, as well as refocuses do."""
    samples = []
    for index in range(count):
        x_mm, y_mm = random.uniform(0.0, extent_mm, 2)
        error_mm = random.normal(0.0, math.hypot(POINT_SD_UM, POINT_SD_DEPTHS * DEPTH_UM)) / 1000.0
        samples.append(point(x_mm, y_mm, 60.0 * index, focus(x_mm, y_mm, 60.0 * index) + error_mm))
    return samples


def test_one_point_is_a_constant_that_is_less_sure_far_away_and_later() -> None:
    """Nothing tells tilt or drift yet: the same everywhere, within what specimens and columns do."""
    surface = fit(point(1.0, 2.0, 0.0, 9.0))
    places = [(1.0, 2.0, 0.0), (1.01, 2.0, 0.0), (1.1, 2.0, 0.0), (2.0, 2.0, 0.0)]
    near, tile, farther, far = (surface.predict(*place) for place in places)
    later = surface.predict(1.0, 2.0, HOUR_S)

    assert [one.working_distance_mm for one in (near, tile, farther, far, later)] == pytest.approx([9.0] * 5)
    assert near.standard_deviation_um < DEPTH_UM / 2
    assert near.standard_deviation_um < tile.standard_deviation_um < farther.standard_deviation_um
    assert far.standard_deviation_um == pytest.approx(100.0, rel=0.2)
    assert 40.0 < later.standard_deviation_um < 60.0


def test_on_a_tilted_stage_the_ground_may_be_as_steep_as_that() -> None:
    """A stage at 70 degrees, as for diffraction: two rows of points already tell the slope."""
    rise = math.tan(math.radians(70.0))
    samples = [
        point(0.01 * (i % 3), 0.02 * (i // 3), 60.0 * i, 9.0 + rise * 0.02 * (i // 3)) for i in range(6)
    ]
    told = FocusSurface.fit(samples, depth_of_field_um=DEPTH_UM, field_mm=FIELD_MM, tilt_deg=70.0)
    ahead = told.predict(0.01, 0.04, 400.0)

    assert told.summary.tilt_y_um_per_mm == pytest.approx(1000.0 * rise, rel=0.05)
    error_um = (ahead.working_distance_mm - 9.0 - rise * 0.04) * 1000.0
    assert abs(error_um) < 2.0 * ahead.standard_deviation_um
    with pytest.raises(ValueError, match="tilt"):
        FocusSurface.fit(samples, depth_of_field_um=DEPTH_UM, tilt_deg=math.nan)


def test_two_points_share_a_difference_out_between_tilt_and_drift() -> None:
    """Seen moments apart it is tilt, seen at one place hours apart it is drift, each as its prior allows."""
    tilted = fit(point(0.0, 0.0, 0.0, 9.0), point(0.5, 0.0, 60.0, 9.02)).summary
    drifted = fit(point(0.0, 0.0, 0.0, 9.0), point(0.0, 0.0, HOUR_S, 9.02)).summary

    assert tilted.tilt_x_um_per_mm == pytest.approx(40.0, rel=0.25)
    assert abs(tilted.drift_um_per_hour) < 2.0
    assert drifted.drift_um_per_hour == pytest.approx(20.0, rel=0.1)
    assert (drifted.tilt_x_um_per_mm, drifted.tilt_y_um_per_mm) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert tilted.tilt_y_sd_um_per_mm == pytest.approx(100.0, rel=0.01)


def test_tilt_and_drift_are_found_within_their_standard_deviations() -> None:
    """A dozen points of a plane that drifts tell both, and where focus is half a millimetre away."""
    surface = fit(*found(plane, 12, np.random.default_rng(3), extent_mm=0.5))
    told = surface.summary
    ahead = surface.predict(0.8, 0.3, 1200.0)

    assert abs(told.tilt_x_um_per_mm - 30.0) < 3.0 * told.tilt_x_sd_um_per_mm < 30.0
    assert abs(told.tilt_y_um_per_mm + 20.0) < 3.0 * told.tilt_y_sd_um_per_mm < 30.0
    assert abs(told.drift_um_per_hour - 40.0) < 3.0 * told.drift_sd_um_per_hour < 75.0
    error_um = (ahead.working_distance_mm - plane(0.8, 0.3, 1200.0)) * 1000.0
    assert abs(error_um) < 2.0 * ahead.standard_deviation_um < 20.0


def made_surface(seed: int, random: np.random.Generator) -> Focus:
    """Tilt, relief, a drift and a wandering of the focus, all at random."""
    tilt_x, tilt_y = random.normal(0.0, 40.0, 2)
    drift_um_per_hour = random.normal(0.0, 30.0)
    minutes = np.arange(60)
    walked_um = np.cumsum(random.normal(0.0, random.uniform(0.0, 5.0) / math.sqrt(60.0), minutes.size))
    relief = Relief(
        SpecimenOptions(
            tilt_um_per_mm=(float(tilt_x), float(tilt_y)),
            bumps_um=float(random.uniform(0.0, 5.0)),
            bump_size_mm=float(random.uniform(0.02, 0.08)),
            seed=seed,
        )
    )

    def focus(x_mm: float, y_mm: float, at_s: float) -> float:
        wandered_um = drift_um_per_hour * at_s / HOUR_S + float(np.interp(at_s / 60.0, minutes, walked_um))
        return 9.0 + (wandered_um - relief.height_um(x_mm, y_mm)) / 1000.0

    return focus


def test_standard_deviations_are_calibrated() -> None:
    """Over made surfaces focus lies within one of them about 68 times of 100, within two 95 times."""
    missed = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        focus = made_surface(seed, random)
        surface = fit(*found(focus, int(random.integers(6, 40)), random))
        for _ in range(20):
            x_mm, y_mm = random.uniform(0.0, 0.1, 2)
            told = surface.predict(x_mm, y_mm, 2400.0)
            error_um = (told.working_distance_mm - focus(x_mm, y_mm, 2400.0)) * 1000.0
            missed.append(abs(error_um) / told.standard_deviation_um)

    assert 0.63 < np.mean(np.array(missed) < 1.0) < 0.85
    assert 0.93 < np.mean(np.array(missed) < 2.0) < 0.99


def test_a_refocus_gone_wrong_is_left_out() -> None:
    """One point 20 depths of field off moves no prediction, and is named."""
    samples = found(plane, 12, np.random.default_rng(5))
    truth = fit(*samples).predict(0.05, 0.05, 800.0)
    samples[7] = point(
        samples[7].x_mm, samples[7].y_mm, samples[7].at_s, samples[7].working_distance_mm + 0.04
    )
    surface = fit(*samples)
    told = surface.predict(0.05, 0.05, 800.0)

    assert surface.summary.left_out == (7,)
    assert surface.summary.points == 12
    assert told.working_distance_mm == pytest.approx(truth.working_distance_mm, abs=DEPTH_UM / 2 / 1000.0)
    assert told.standard_deviation_um < 2.0 * truth.standard_deviation_um


def test_predictions_that_proved_wrong_lose_weight() -> None:
    """Where the last points lie off the plane of those before, standard deviations grow."""
    samples = [
        point(0.01 * i, 0.03 * (i % 3), 60.0 * i, plane(0.01 * i, 0.03 * (i % 3), 60.0 * i))
        for i in range(12)
    ]
    astray = [
        point(one.x_mm, one.y_mm, one.at_s, one.working_distance_mm + 0.006 * (-1) ** i)
        for i, one in enumerate(samples[8:])
    ]
    trusted = fit(*samples).predict(0.13, 0.03, 800.0)
    doubted = fit(*samples[:8], *astray).predict(0.13, 0.03, 800.0)

    assert doubted.standard_deviation_um > 3.0 * trusted.standard_deviation_um


def test_many_places_are_predicted_at_once_as_one_by_one() -> None:
    """A thousand of them take no longer than a glance."""
    surface = fit(*found(plane, 12, np.random.default_rng(3)))
    places = [(0.001 * number, -0.0005 * number) for number in range(1000)]
    began = time.thread_time()
    told = surface.predict_all(places, 900.0)
    took_s = time.thread_time() - began

    for (x_mm, y_mm), one in list(zip(places, told, strict=True))[::250]:
        alone = surface.predict(x_mm, y_mm, 900.0)
        assert one.working_distance_mm == pytest.approx(alone.working_distance_mm, abs=1e-9)
        assert one.standard_deviation_um == pytest.approx(alone.standard_deviation_um, rel=1e-6)
    assert took_s < 1.0
    assert surface.predict_all([], 900.0) == []


@settings(deadline=None, max_examples=25)
@given(
    shift_mm=st.floats(-40.0, 40.0),
    later_s=st.floats(0.0, 2e9),
    lift_mm=st.floats(-5.0, 5.0),
    count=st.integers(1, 8),
)
def test_nothing_depends_on_where_scales_begin(
    shift_mm: float, later_s: float, lift_mm: float, count: int
) -> None:
    """Another zero of the stage, of time or of the working distance shifts predictions and no more."""
    samples = found(plane, count, np.random.default_rng(count))
    moved = [
        point(one.x_mm + shift_mm, one.y_mm - shift_mm, one.at_s + later_s, one.working_distance_mm + lift_mm)
        for one in samples
    ]
    told = fit(*samples).predict(0.02, 0.07, 900.0)
    same = fit(*moved).predict(0.02 + shift_mm, 0.07 - shift_mm, 900.0 + later_s)

    assert same.working_distance_mm - lift_mm == pytest.approx(told.working_distance_mm, abs=2e-5)
    assert same.standard_deviation_um == pytest.approx(told.standard_deviation_um, rel=1e-2)


@settings(deadline=None, max_examples=40)
@given(
    places=st.lists(
        st.tuples(
            st.floats(-50.0, 50.0), st.floats(-50.0, 50.0), st.floats(0.0, 172_800.0), st.floats(4.0, 30.0)
        ),
        min_size=1,
        max_size=12,
    ),
    depth_um=st.floats(0.05, 5000.0),
    sd_um=st.floats(1e-3, 1e4),
    field_mm=st.none() | st.floats(1e-4, 10.0),
)
def test_any_points_give_finite_predictions(
    places: list[tuple[float, float, float, float]], depth_um: float, sd_um: float, field_mm: float | None
) -> None:
    """Points on one another, centimetres apart, days old: never an error, and a positive deviation."""
    samples = sorted((FocusSample(*place, sd_um) for place in places), key=lambda one: one.at_s)
    surface = FocusSurface.fit(samples, depth_of_field_um=depth_um, field_mm=field_mm)
    told = surface.predict(3.0, -4.0, 200_000.0)

    assert math.isfinite(told.working_distance_mm)
    assert 0.0 < told.standard_deviation_um < math.inf


def test_five_hundred_points_cost_seconds_at_most() -> None:
    """The bound of what is kept; a fit waits in a thread of its own."""
    samples = found(plane, 500, np.random.default_rng(1))
    began = time.thread_time()
    surface = fit(*samples)
    surface.predict(0.05, 0.05, 30_000.0)

    assert time.thread_time() - began < 5.0
    assert surface.summary.points == 500


@pytest.mark.parametrize(
    ("samples", "depth_um", "field_mm", "named"),
    [
        ([], DEPTH_UM, FIELD_MM, "at least one point"),
        ([point(0.0, 0.0, 0.0, 9.0)], 0.0, FIELD_MM, "positive"),
        ([point(0.0, 0.0, 0.0, 9.0)], DEPTH_UM, -1.0, "positive"),
        ([FocusSample(0.0, 0.0, 0.0, 9.0, 0.0)], DEPTH_UM, FIELD_MM, "positive"),
        ([point(0.0, math.nan, 0.0, 9.0)], DEPTH_UM, FIELD_MM, "finite"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    samples: list[FocusSample], depth_um: float, field_mm: float, named: str
) -> None:
    """The message says what is wrong."""
    with pytest.raises(ValueError, match=named):
        FocusSurface.fit(samples, depth_of_field_um=depth_um, field_mm=field_mm)
