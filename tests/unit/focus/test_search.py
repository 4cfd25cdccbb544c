"""What every search keeps to, on curves of every kind; and what make_search refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.focus.measure import Measurement
from focusd.focus.metrics import METRICS
from focusd.focus.search import METHODS, Search, SearchResult, make_search
from tests.unit.focus.optics import DEPTH_MM, DEPTH_UM, measured, scored

Curve = Callable[[float, np.random.Generator], Measurement]

CURVES: dict[str, Curve] = {
    "peak": lambda depths, rng: measured(abs(depths), rng=rng),
    "faint peak": lambda depths, rng: measured(abs(depths), noise=3000.0, rng=rng),
    "clean peak": lambda depths, _: measured(abs(depths), noise=1e-6),
    "backlash": lambda depths, rng: measured(abs(depths + rng.uniform(-0.5, 0.5)), rng=rng),
    "two peaks": lambda depths, rng: measured(min(abs(depths), 1.0 + abs(depths - 15.0)), rng=rng),
    "flat": lambda _, rng: measured(9.0, rng=rng),
    "nothing": lambda _, rng: measured(400.0, noise=1e5, rng=rng),
    "rising": lambda depths, rng: measured(max(60.0 - depths, 0.0), rng=rng),
    "steps": lambda depths, _: scored(1.0 + math.floor(abs(depths) / 5.0)),
    "negative": lambda depths, rng: scored(-abs(depths), 0.1 + rng.random()),
    "jagged": lambda _, rng: scored(float(rng.uniform(0.1, 9.0)), 0.01),
}


def metric_of(curve: str) -> str:
    """The metric that a made curve speaks in."""
    return "tenengrad" if curve in {"steps", "negative", "jagged"} else "log_energy"


def start(
    curve: str = "peak", *, low: float = -40.0, here: float = 6.0, high: float = 40.0, max_scans: int = 13
) -> Search:
    """Start Brent's method; places in depths of field from 9 mm."""
    return make_search(
        "brent",
        start_mm=9.0 + here * DEPTH_MM,
        low_mm=9.0 + low * DEPTH_MM,
        high_mm=9.0 + high * DEPTH_MM,
        depth_of_field_um=DEPTH_UM,
        max_scans=max_scans,
        metric=metric_of(curve),
        wide_maxiter=5,
    )


def drive(search: Search, curve: str, seed: int = 0) -> list[float]:
    """Answer a search from a curve; give the places asked, in depths of field from 9 mm."""
    rng = np.random.default_rng(seed)
    asked: list[float] = []
    while (place_mm := search.ask()) is not None:
        assert search.ask() == place_mm, "asked again before it was told, it wants the same"
        depths = (place_mm - 9.0) / DEPTH_MM
        asked.append(depths)
        assert len(asked) < 100, "the search does not end"
        search.tell(place_mm, CURVES[curve](depths, rng))
    return asked


@given(
    st.sampled_from(sorted(CURVES)),
    st.floats(0.3, 120.0),
    st.floats(0.3, 120.0),
    st.floats(-60.0, 60.0),
    st.integers(1, 20),
    st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_every_search_keeps_the_rules(
    curve: str, below: float, above: float, here: float, max_scans: int, seed: int
) -> None:
    """On any curve: within bounds, never the same place twice, within the budget, and with an answer."""
    search = start(curve, low=here - below, here=here, high=here + above, max_scans=max_scans)

    asked = drive(search, curve, seed)

    assert asked[0] == pytest.approx(here, abs=1e-6)
    assert len(asked) <= max_scans
    assert min(asked) > here - below - 1e-6
    assert max(asked) < here + above + 1e-6
    assert all(abs(one - other) > 0.249 for one, other in combinations(asked, 2))
    outcome = search.outcome
    assert search.ask() is None
    assert outcome.reason
    assert outcome.working_distance_mm is not None
    assert here - below - 1e-6 < (outcome.working_distance_mm - 9.0) / DEPTH_MM < here + above + 1e-6


@pytest.mark.parametrize("curve", ["flat", "nothing"])
def test_where_nothing_changes_there_is_no_peak(curve: str) -> None:
    """The same picture everywhere is nothing to focus on, and costs a bounded number of scans."""
    for seed in range(10):
        search = start(curve)

        assert len(drive(search, curve, seed)) <= 9
        assert search.outcome.result is SearchResult.NO_PEAK


@pytest.mark.parametrize(("low", "high"), [(-40.0, 40.0), (-3.0, 40.0)])
def test_sharpness_that_rises_to_a_bound_is_the_edge(low: float, high: float) -> None:
    """When the sharpest picture is the one at the bound, focus may lie beyond: nothing was found."""
    search = start("rising", low=low, here=0.0, high=high)

    asked = drive(search, "rising")

    assert search.outcome.result is SearchResult.EDGE_OF_RANGE
    assert max(asked) == pytest.approx(high)


@pytest.mark.parametrize("inside", [0.8, 2.0, 5.0])
def test_a_focus_close_inside_a_bound_is_found(inside: float) -> None:
    """A focus between the bound and the last scan before it is not taken for the edge."""
    search = start(low=-60.0, here=-25.0, high=inside)

    drive(search, "peak")

    assert search.outcome.result is SearchResult.FOUND
    assert search.outcome.working_distance_mm == pytest.approx(9.0, abs=0.6 * DEPTH_MM)


def test_a_range_narrower_than_the_depth_of_field_ends_at_once() -> None:
    """With nowhere to go there is nothing to search."""
    search = start(low=-0.1, here=0.0, high=0.1)

    assert len(drive(search, "peak")) == 1
    assert search.outcome.result is SearchResult.EDGE_OF_RANGE


@pytest.mark.parametrize("here", [-45.0, -30.0, -16.0, -8.0, -3.0, -0.2, 0.0, 2.0, 5.0, 12.0, 24.0, 45.0])
def test_a_peak_is_found_from_near_and_far(here: float) -> None:
    """Brent's method in its own bracket ends on the peak with few scans."""
    search = start(low=-100.0, here=here, high=100.0)

    asked = drive(search, "peak", seed=7)

    assert search.outcome.result is SearchResult.FOUND
    assert search.outcome.working_distance_mm == pytest.approx(9.0, abs=0.5 * DEPTH_MM)
    assert len(asked) <= (6 if abs(here) <= 8.0 else 9)


@pytest.mark.parametrize("told", [0.4, 2.5])
def test_a_wrong_depth_of_field_costs_scans_not_the_answer(told: float) -> None:
    """Told a depth of field 2.5 times too small or too large, the search still finds the peak."""
    rng = np.random.default_rng(5)
    search = make_search(
        "brent",
        start_mm=9.0 - 7.0 * DEPTH_MM,
        low_mm=8.8,
        high_mm=9.2,
        depth_of_field_um=told * DEPTH_UM,
        max_scans=13,
        metric="log_energy",
        wide_maxiter=5,
    )
    while (place_mm := search.ask()) is not None:
        search.tell(place_mm, measured(abs(place_mm - 9.0) / DEPTH_MM, rng=rng))

    assert search.outcome.result is SearchResult.FOUND
    assert search.outcome.working_distance_mm == pytest.approx(9.0, abs=max(told, 1.0) * 0.5 * DEPTH_MM)


def test_the_budget_ends_the_search_with_the_best_so_far() -> None:
    """Out of scans, the answer is the sharpest place seen."""
    search = start(here=20.0, max_scans=3)

    asked = drive(search, "peak")

    assert len(asked) == 3
    assert search.outcome.result is SearchResult.BUDGET
    assert search.outcome.working_distance_mm == pytest.approx(9.0 + min(asked, key=abs) * DEPTH_MM)


def test_scans_not_asked_for_count_and_cost_nothing() -> None:
    """A scan already taken elsewhere is used: the start is not scanned again."""
    search = start(here=6.0, max_scans=4)
    search.tell(9.0 + 6.0 * DEPTH_MM, measured(6.0))
    search.tell(9.0 - 5.0 * DEPTH_MM, measured(5.0))

    asked = drive(search, "peak")

    assert all(abs(place - 6.0) > 0.25 and abs(place + 5.0) > 0.25 for place in asked)
    assert search.outcome.result is SearchResult.FOUND


def test_the_answer_so_far_is_there_at_any_time() -> None:
    """A search that is cut short knows its best place, or that it has none."""
    search = start()
    assert search.outcome.working_distance_mm is None

    place_mm = search.ask()
    assert place_mm is not None
    search.tell(place_mm, measured(6.0))

    assert search.outcome.working_distance_mm == place_mm
    assert search.outcome.result is SearchResult.BUDGET


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "golden"}, "unknown method 'golden'; known are .*brent, brent-wide"),
        ({"metric": "sharp"}, "unknown metric"),
        ({"low_mm": 9.5}, "low_mm must be below high_mm"),
        ({"depth_of_field_um": 0.0}, "must be positive"),
        ({"max_scans": 0}, "must be positive"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    """Settings that make no sense are refused before anything moves."""
    settings: dict[str, object] = {
        "method": "brent",
        "start_mm": 9.0,
        "low_mm": 8.5,
        "high_mm": 9.5,
        "depth_of_field_um": 2.0,
        "max_scans": 13,
        "metric": "log_energy",
        "wide_maxiter": 5,
    }

    with pytest.raises(ValueError, match=message):
        make_search(**(settings | change))  # type: ignore[arg-type]  # wrong on purpose


def test_every_method_starts_with_every_metric() -> None:
    """The two tables fit together."""
    for method in METHODS:
        for name in METRICS:
            search = make_search(
                method,
                start_mm=9.0,
                low_mm=8.5,
                high_mm=9.5,
                depth_of_field_um=2.0,
                max_scans=13,
                metric=name,
                wide_maxiter=5,
            )
            assert search.ask() is not None
