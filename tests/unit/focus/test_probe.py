"""The probe tells lost focus from other changes, in one scan or two."""

from __future__ import annotations

import numpy as np
import pytest

from focusd.focus.depth import LearnedDepth
from focusd.focus.measure import measure
from focusd.focus.probe import MAX_SCANS, Probe, ProbeOutcome, ProbeResult
from focusd.focus.search import make_search
from tests.unit.focus.optics import DEPTH_MM, DEPTH_UM, Column, measured

LOW_MM, HIGH_MM = 8.9, 9.1


def probed(
    kind: str, off_depths: float, *, dose: float = 20.0, seed: int = 0, prior: LearnedDepth | None = None
) -> tuple[ProbeOutcome, int]:
    """Probe from a place so far from focus; give the verdict and the scans it cost besides the alarm's."""
    here_mm = 9.0 + off_depths * DEPTH_MM
    column = Column(kind, focus_mm=9.0, dose=dose, seed=seed)
    probe = Probe(here_mm, LOW_MM, HIGH_MM, DEPTH_UM, prior=prior)
    probe.tell(here_mm, measure(column.scan(here_mm), []))
    scans = 0
    while (place_mm := probe.ask()) is not None:
        probe.tell(place_mm, measure(column.scan(place_mm), []))
        scans += 1
    return probe.outcome, scans


@pytest.mark.parametrize("kind", ["cells", "powder", "particles"])
@pytest.mark.parametrize("off_depths", [-6.0, -2.5, 2.5, 6.0])
def test_lost_focus_is_found_lost(kind: str, off_depths: float) -> None:
    """A lens well out of focus is told so, and on which side focus lies."""
    outcome, scans = probed(kind, off_depths)

    assert outcome.result is ProbeResult.LOST
    assert outcome.p_lost > 0.5
    assert (outcome.mean_mm < 9.0 + off_depths * DEPTH_MM) == (off_depths > 0)
    assert scans <= MAX_SCANS


@pytest.mark.parametrize("kind", ["cells", "powder", "particles"])
@pytest.mark.parametrize("off_depths", [-0.4, 0.0, 0.4])
def test_a_lens_in_focus_is_left_alone(kind: str, off_depths: float) -> None:
    """In focus, the probe says that it is not the focus."""
    outcome, scans = probed(kind, off_depths)

    assert outcome.result is ProbeResult.NOT_FOCUS_RELATED
    assert scans <= MAX_SCANS


@pytest.mark.parametrize("kind", ["cells", "powder", "particles"])
@pytest.mark.parametrize(
    ("off_depths", "expected"),
    [(0.0, ProbeResult.NOT_FOCUS_RELATED), (-2.5, ProbeResult.LOST), (2.5, ProbeResult.LOST)],
)
def test_with_the_depth_learnt_one_scan_decides(kind: str, off_depths: float, expected: ProbeResult) -> None:
    """Once past refocuses have measured the depth of field, a plain case takes no second scan."""
    learnt = LearnedDepth(DEPTH_UM, DEPTH_UM, log_sd=0.1, runs=5)

    outcome, scans = probed(kind, off_depths, dose=50.0, prior=learnt)

    assert outcome.result is expected
    assert scans == 1


def test_nothing_to_see_is_blind() -> None:
    """On empty resin the probe says that it cannot tell, after its two scans."""
    rng = np.random.default_rng(0)
    probe = Probe(9.0, LOW_MM, HIGH_MM, DEPTH_UM)
    probe.tell(9.0, measured(400.0, noise=1e5, rng=rng))
    asked = 0
    while (place_mm := probe.ask()) is not None:
        probe.tell(place_mm, measured(400.0, noise=1e5, rng=rng))
        asked += 1

    assert probe.outcome.result is ProbeResult.BLIND
    assert asked == MAX_SCANS


@pytest.mark.parametrize("here_mm", [LOW_MM, HIGH_MM])
def test_at_a_bound_it_stays_inside(here_mm: float) -> None:
    """At a bound both scans lie on the inner side, at different places."""
    rng = np.random.default_rng(0)
    probe = Probe(here_mm, LOW_MM, HIGH_MM, DEPTH_UM)
    places = []
    while (place_mm := probe.ask()) is not None:
        assert probe.ask() == place_mm
        places.append(place_mm)
        probe.tell(place_mm, measured(400.0, noise=1e5, rng=rng))

    assert places[0] == here_mm
    assert len(set(places)) == len(places) == MAX_SCANS + 1
    assert all(LOW_MM <= place <= HIGH_MM for place in places)


def test_its_scans_are_the_first_of_the_search() -> None:
    """Told the probe's scans, the search asks for the vertex next and ends with few scans of its own."""
    here_mm = 9.0 + 4.0 * DEPTH_MM
    column = Column("cells", focus_mm=9.0, dose=50.0)
    search = make_search(
        "spectral",
        start_mm=here_mm,
        low_mm=LOW_MM,
        high_mm=HIGH_MM,
        depth_of_field_um=DEPTH_UM,
        max_scans=6,
        metric="log_energy",
        wide_maxiter=5,
    )
    for place_mm in (here_mm, here_mm + 4.0 * DEPTH_MM):
        search.tell(place_mm, measure(column.scan(place_mm), []))
    asked = 0
    while (place := search.ask()) is not None:
        search.tell(place, measure(column.scan(place), []))
        asked += 1

    assert asked <= 2
    assert search.outcome.working_distance_mm == pytest.approx(9.0, abs=DEPTH_MM)


def test_without_a_scan_there_is_no_outcome() -> None:
    """Asked before it was told anything, it says so."""
    with pytest.raises(ValueError, match="without a scan"):
        _ = Probe(9.0, LOW_MM, HIGH_MM, DEPTH_UM).outcome
