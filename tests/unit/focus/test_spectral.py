"""The search by spectra: few scans, honest ends, and what every search keeps to."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.focus.brent import SAME_PLACE_DEPTHS as BRENT_SAME_PLACE_DEPTHS
from focusd.focus.depth import BOUND_FACTOR, LearnedDepth
from focusd.focus.measure import Measurement, measure
from focusd.focus.outcome import SearchResult
from focusd.focus.parabola import parabola_vertex
from focusd.focus.spectral import MAX_SCANS, SAME_PLACE_DEPTHS, SpectralSearch
from focusd.focus.spectrum import RadialSpectrum
from tests.unit.focus.optics import DEPTH_MM, DEPTH_UM, Column, measured

FOCUS_MM = 9.0


def search_from(
    depths: float,
    *,
    low: float = -60.0,
    high: float = 60.0,
    max_scans: int = MAX_SCANS,
    told_um: float = DEPTH_UM,
    prior: LearnedDepth | None = None,
    reference: RadialSpectrum | None = None,
) -> SpectralSearch:
    """Start a search so many depths of field from focus, in bounds counted from focus too."""
    return SpectralSearch(
        start_mm=FOCUS_MM + depths * DEPTH_MM,
        low_mm=FOCUS_MM + low * DEPTH_MM,
        high_mm=FOCUS_MM + high * DEPTH_MM,
        depth_of_field_um=told_um,
        max_scans=max_scans,
        prior=prior,
        reference=reference,
    )


def drive(search: SpectralSearch, column: Column) -> list[float]:
    """Answer a search with pictures; give the places asked, in depths of field from focus."""
    asked = []
    while (place_mm := search.ask()) is not None:
        assert search.ask() == place_mm
        search.tell(place_mm, measure(column.scan(place_mm), ()))
        asked.append((place_mm - FOCUS_MM) / DEPTH_MM)
    return asked


def error_of(search: SpectralSearch) -> float:
    """Distance of the answer from focus, in depths of field."""
    answer_mm = search.outcome.working_distance_mm
    assert answer_mm is not None
    return abs(answer_mm - FOCUS_MM) / DEPTH_MM


@pytest.mark.parametrize("kind", ["cells", "powder", "particles"])
@pytest.mark.parametrize("depths", [-5.0, -2.5, 3.5, 5.5])
def test_a_little_out_of_focus_takes_three_or_four_scans(kind: str, depths: float) -> None:
    """From 2 to 6 depths of field away, focus is found within one of them."""
    search = search_from(depths)

    asked = drive(search, Column(kind, focus_mm=FOCUS_MM, dose=50.0))

    assert search.outcome.result is SearchResult.FOUND
    assert error_of(search) < 1.0
    assert len(asked) <= 4


@pytest.mark.parametrize("kind", ["cells", "powder", "particles"])
@pytest.mark.parametrize("depths", [-35.0, -14.0, 10.0, 28.0])
def test_far_out_of_focus_takes_six_at_most(kind: str, depths: float) -> None:
    """From as far as 35 depths of field, focus is found within the budget."""
    search = search_from(depths)

    drive(search, Column(kind, focus_mm=FOCUS_MM, dose=50.0))

    assert error_of(search) < 1.2


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_a_wrong_depth_of_field_is_borne(factor: float) -> None:
    """Told a depth of field off by 40 %, it still finds focus, and learns better."""
    search = search_from(-5.0, told_um=factor * DEPTH_UM)

    drive(search, Column("cells", focus_mm=FOCUS_MM, dose=50.0))

    learnt_um = search.outcome.depth_of_field_um
    assert error_of(search) < 1.0
    assert learnt_um is not None
    assert abs(learnt_um - DEPTH_UM) < abs(factor - 1.0) * DEPTH_UM


@pytest.mark.parametrize("depths", [-4.0, 1.5])
def test_a_depth_of_field_told_four_times_too_small_is_found_out(depths: float) -> None:
    """Who configures it for another pixel size gets to focus all the same."""
    search = search_from(depths, told_um=DEPTH_UM / 4.0)

    drive(search, Column("cells", focus_mm=FOCUS_MM, dose=50.0))

    assert error_of(search) < 1.0


def test_where_noise_hides_the_specimen_it_looks_longer() -> None:
    """The fainter the clearest scan per dwell time, the longer the next; usually as long as the first."""
    factors = {}
    for signal_to_noise in (100.0, 14.0, 8.0, 1.0):
        seen = measured(5.0)
        seen = replace(seen, quality=replace(seen.quality, signal_to_noise=signal_to_noise))
        search = search_from(5.0)
        assert search.dwell_factor == 1.0
        search.tell(FOCUS_MM + 5.0 * DEPTH_MM, seen)
        factors[signal_to_noise] = search.dwell_factor

    assert factors == {100.0: 1.0, 14.0: 1.0, 8.0: 2.0, 1.0: 4.0}


def test_a_long_scan_is_not_taken_for_a_clear_specimen() -> None:
    """Four times the dwell made it clear; the next scan needs it as well."""
    usual, long = measured(5.0), measured(9.0)
    search = search_from(5.0)
    for place, seen, signal_to_noise, dwell_us in ((5.0, usual, 4.0, 1.0), (9.0, long, 17.0, 4.0)):
        spectrum = replace(seen.spectrum, dwell_time_us=dwell_us)
        quality = replace(seen.quality, signal_to_noise=signal_to_noise)
        search.tell(FOCUS_MM + place * DEPTH_MM, replace(seen, spectrum=spectrum, quality=quality))

    assert search.dwell_factor == 4.0


def test_in_focus_it_stays() -> None:
    """Started in focus, it comes back to where it started."""
    search = search_from(0.1)

    drive(search, Column("cells", focus_mm=FOCUS_MM, dose=50.0))

    assert search.outcome.result is SearchResult.FOUND
    assert error_of(search) < 0.5


def test_the_outcome_holds_its_evidence() -> None:
    """The scan that shows the answer is named, and the answer is likelier nearer to focus than the start."""
    search = search_from(5.0)

    asked = drive(search, Column("cells", focus_mm=FOCUS_MM, dose=50.0))

    outcome = search.outcome
    assert outcome.verified_by is not None
    assert outcome.verified_at_mm is not None
    assert (outcome.verified_at_mm - FOCUS_MM) / DEPTH_MM in asked[1:]
    assert outcome.probability_nearer is not None
    assert outcome.probability_nearer > 0.95
    assert outcome.sd_um is not None
    assert outcome.sd_um < DEPTH_UM


@pytest.mark.parametrize(("low", "high", "here"), [(5.0, 60.0, 12.0), (-60.0, -4.0, -9.0)])
def test_focus_beyond_a_bound_is_said_to_be_there(low: float, high: float, here: float) -> None:
    """With focus outside the range, the search ends at the edge, having asked for nothing beyond it."""
    search = search_from(here, low=low, high=high)

    asked = drive(search, Column("cells", focus_mm=FOCUS_MM, dose=50.0))

    assert search.outcome.result is SearchResult.EDGE_OF_RANGE
    assert all(low - 1e-9 <= place <= high + 1e-9 for place in asked)


def test_a_range_without_room_ends_at_once() -> None:
    """Bounds nearer to each other than the depth of field leave nothing to search."""
    search = search_from(0.0, low=-0.1, high=0.1)

    asked = drive(search, Column("cells", focus_mm=FOCUS_MM, dose=50.0))

    assert len(asked) == 1
    assert search.outcome.result is SearchResult.EDGE_OF_RANGE


def test_noise_is_given_up() -> None:
    """Where scans show nothing but noise, it gives up early and says that there is nothing to focus on."""
    rng = np.random.default_rng(0)
    search = search_from(3.0)
    asked = 0
    while (place_mm := search.ask()) is not None:
        search.tell(place_mm, measured(400.0, noise=1e5, rng=rng))
        asked += 1

    assert search.outcome.result is SearchResult.NO_PEAK
    assert asked < MAX_SCANS


def test_a_reference_lets_it_jump_at_once() -> None:
    """With the spectrum of an in-focus picture, the second scan is as far away as focus is."""
    column = Column("cells", focus_mm=FOCUS_MM, dose=50.0)
    reference = measure(column.scan(FOCUS_MM), ()).spectrum
    search = search_from(-9.0, reference=reference)

    asked = drive(search, column)

    assert abs(abs(asked[1] - asked[0]) - 9.0) < 2.5
    assert error_of(search) < 1.0


def test_a_reference_of_another_shape_is_left_aside() -> None:
    """Its rings are others; the search goes as without it."""
    column = Column("cells", focus_mm=FOCUS_MM, dose=50.0)
    reference = measure(column.scan(FOCUS_MM)[:128, :128], ()).spectrum

    with_it, without = (search_from(-9.0, reference=one) for one in (reference, None))

    assert drive(with_it, Column("cells", focus_mm=FOCUS_MM, dose=50.0)) == drive(
        without, Column("cells", focus_mm=FOCUS_MM, dose=50.0)
    )


def test_a_learnt_depth_of_field_replaces_the_configured_one() -> None:
    """The second step is counted in the learnt depth of field."""
    learned = LearnedDepth(1.3 * DEPTH_UM, DEPTH_UM, 0.1, 5)
    search = search_from(3.0, told_um=1.3 * DEPTH_UM, prior=learned)

    asked = drive(search, Column("cells", focus_mm=FOCUS_MM, dose=50.0))

    assert abs(asked[1] - asked[0]) == pytest.approx(6.0)


def test_scans_told_unasked_cost_no_budget() -> None:
    """Scans that were at hand leave the whole budget to the search."""
    column = Column("cells", focus_mm=FOCUS_MM, dose=50.0)
    search = search_from(25.0, max_scans=3)
    for depths in (25.0, 31.0):
        place_mm = FOCUS_MM + depths * DEPTH_MM
        search.tell(place_mm, measure(column.scan(place_mm), ()))

    asked = drive(search, column)

    assert 1 <= len(asked) <= 3
    assert error_of(search) < 1.5


def test_before_the_first_scan_there_is_no_answer() -> None:
    """The outcome of a search that was told nothing names no place."""
    outcome = search_from(0.0).outcome

    assert outcome.working_distance_mm is None
    assert outcome.result is SearchResult.BUDGET


def _odd(kind: int, depths: float, rng: np.random.Generator) -> Measurement:
    """What no physics would give, and some that it would."""
    radius = (abs(depths), rng.uniform(0.0, 20.0), min(abs(depths), 1.0 + abs(depths - 15.0)), 9.0)[kind]
    return measured(float(radius), noise=(400.0, 1e5)[int(rng.integers(2))], rng=rng)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.integers(0, 3),
    seed=st.integers(0, 10_000),
    low=st.floats(-80.0, -0.05),
    high=st.floats(0.05, 80.0),
    max_scans=st.integers(1, 9),
)
def test_whatever_it_sees(kind: int, seed: int, low: float, high: float, max_scans: int) -> None:
    """It ends within the budget, stays in bounds, never scans a place twice, and answers within bounds."""
    rng = np.random.default_rng(seed)
    here = float(rng.uniform(low, high))
    search = search_from(here, low=low, high=high, max_scans=max_scans)
    asked = []
    while (place_mm := search.ask()) is not None:
        asked.append((place_mm - FOCUS_MM) / DEPTH_MM)
        search.tell(place_mm, _odd(kind, asked[-1], rng))

    answer_mm = search.outcome.working_distance_mm
    assert len(asked) <= min(max_scans, MAX_SCANS)
    assert all(low - 1e-6 <= place <= high + 1e-6 for place in asked)
    # Brent's method goes nearer, where no model explains the scans.
    apart = min(SAME_PLACE_DEPTHS, BRENT_SAME_PLACE_DEPTHS / BOUND_FACTOR)
    assert all(abs(a - b) > apart - 1e-6 for a, b in combinations(asked, 2))
    assert answer_mm is not None
    assert low - 1e-6 <= (answer_mm - FOCUS_MM) / DEPTH_MM <= high + 1e-6


def test_parabola_vertex() -> None:
    """The lowest point of a parabola; a line or a hill has none."""
    assert parabola_vertex([(-1.0, 5.0), (0.0, 2.0), (3.0, 5.0)]) == pytest.approx(1.0)
    assert parabola_vertex([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]) is None
    assert parabola_vertex([(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]) is None


def test_a_spent_budget_without_an_idea_is_no_peak() -> None:
    """Where two scans are all there may be and tell nothing, nothing was found."""
    rng = np.random.default_rng(1)
    search = search_from(3.0, max_scans=2)
    while (place_mm := search.ask()) is not None:
        search.tell(place_mm, measured(400.0, noise=1e5, rng=rng))

    assert search.outcome.result is SearchResult.NO_PEAK
    assert search.outcome.working_distance_mm == pytest.approx(FOCUS_MM + 3.0 * DEPTH_MM)
