"""The default search where brightness changes with focus, or by itself: beads under a light microscope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from focusd.focus.acceptance import decide
from focusd.focus.measure import Measurement, measure
from focusd.focus.outcome import SearchResult
from focusd.focus.posterior import MISFIT, FocusPosterior, FocusPrior, Observation, focus_posterior
from focusd.focus.probe import Probe, ProbeOutcome, ProbeResult
from focusd.focus.search import SearchOutcome, make_search
from tests.unit.focus.beads import DEPTH_UM, BeadCamera
from tests.unit.focus.optics import DEPTH_MM, Column
from tests.unit.focus.optics import DEPTH_UM as COLUMN_DEPTH_UM

OFFSET_MM = 10.0
LOW_MM, HIGH_MM = 9.95, 10.05
STARTS_UM = (3.0, -3.0, 8.0, -8.0, 15.0, -15.0)


def measured(camera: BeadCamera, z_um: float) -> Measurement:
    """Take an image and measure it as a refocus does."""
    return measure(camera.image(z_um), ["log_energy"])


def position_um(working_distance_mm: float) -> float:
    """Give the position of the drive."""
    return (working_distance_mm - OFFSET_MM) * 1e3


@dataclass(frozen=True, slots=True)
class Refocused:
    """How a search ended."""

    end_um: float
    scans: int
    outcome: SearchOutcome
    is_accepted: bool


def refocus(camera: BeadCamera, start_um: float, *, told_um: float = DEPTH_UM) -> Refocused:
    """Search by the defaults and let a fresh image at the end decide."""
    search = make_search(
        "spectral",
        start_mm=OFFSET_MM + start_um / 1e3,
        low_mm=LOW_MM,
        high_mm=HIGH_MM,
        depth_of_field_um=told_um,
        max_scans=13,
        metric="log_energy",
        wide_maxiter=5,
    )
    scans = []
    while (place_mm := search.ask()) is not None:
        scans.append(measured(camera, position_um(place_mm)))
        search.tell(place_mm, scans[-1])
    outcome = search.outcome
    assert outcome.working_distance_mm is not None
    end_um = position_um(outcome.working_distance_mm)
    acceptance = decide(
        scans[0],
        measured(camera, end_um),
        metric="log_energy",
        probability_nearer=outcome.probability_nearer,
        settled=outcome.result is SearchResult.FOUND,
        by_shape=outcome.by_shape,
    )
    return Refocused(end_um, len(scans), outcome, acceptance.accepted)


@pytest.mark.parametrize(("noise", "told_um"), [(0.0, 1.0), (0.0, 0.7), (0.0, 2.0), (3.0, 1.0), (3.0, 1.5)])
def test_beads_that_grow_brighter_out_of_focus_are_brought_into_focus(noise: float, told_um: float) -> None:
    """From six places within 0.5 um, or 0.3 of the depth of field told where that is more; it is accepted."""
    runs = [refocus(BeadCamera(k, noise=noise), start, told_um=told_um) for k, start in enumerate(STARTS_UM)]

    assert max(abs(run.end_um) for run in runs) < max(0.5, 0.3 * told_um), [run.end_um for run in runs]
    assert all(run.is_accepted for run in runs)
    assert max(run.scans for run in runs) <= 7


@pytest.mark.parametrize("seed", range(3))
def test_a_lamp_that_flickers_does_not_hide_focus(seed: int) -> None:
    """Beads that keep their light, each image by a factor of up to 2 brighter or darker than the last."""
    factors = np.exp(np.random.default_rng(seed).uniform(-0.7, 0.35, 20))
    for start_um in (-15.0, 8.0):
        camera = BeadCamera(seed, noise=1.0, keeps_light=True, brightness=lambda k: float(factors[k]))

        run = refocus(camera, start_um)

        assert abs(run.end_um) < 1.0, run
        assert run.is_accepted, run


@pytest.mark.parametrize("start_um", STARTS_UM)
def test_beads_that_keep_their_light_need_no_free_gain(start_um: float) -> None:
    """There brightness is evidence, and is used."""
    run = refocus(BeadCamera(noise=2.0, keeps_light=True), start_um)

    assert not run.outcome.by_shape
    assert abs(run.end_um) < 0.5
    assert run.is_accepted
    assert run.scans <= 5


def probed(camera: BeadCamera, start_um: float) -> ProbeOutcome:
    """Probe after an alarm."""
    start_mm = OFFSET_MM + start_um / 1e3
    probe = Probe(start_mm, LOW_MM, HIGH_MM, DEPTH_UM)
    probe.tell(start_mm, measured(camera, start_um))
    while (place_mm := probe.ask()) is not None:
        probe.tell(place_mm, measured(camera, position_um(place_mm)))
    return probe.outcome


def test_the_probe_is_not_misled_by_light_that_grows() -> None:
    """Out of focus is lost, however much brighter; in focus is not."""
    lost = [
        probed(BeadCamera(noise=noise), start_um).result for start_um in STARTS_UM for noise in (0.0, 3.0)
    ]
    kept = [probed(BeadCamera(noise=3.0), start_um).result for start_um in (0.0, 0.4)]

    assert set(lost) == {ProbeResult.LOST}
    assert set(kept) == {ProbeResult.NOT_FOCUS_RELATED}


# --- what the posterior makes of it ---


def seen_at(camera: BeadCamera, *places_um: float) -> FocusPosterior:
    """Infer focus from images at places."""
    scans = [
        Observation(OFFSET_MM + place_um / 1e3, measured(camera, place_um).spectrum) for place_um in places_um
    ]
    return focus_posterior(scans, FocusPrior(scans[0].working_distance_mm, LOW_MM, HIGH_MM, DEPTH_UM))


def test_two_images_at_fifteen_microns_point_at_focus() -> None:
    """Read by the law that blur only spreads light, they would put it on the wrong side or nowhere."""
    posterior = seen_at(BeadCamera(noise=2.0), 15.0, 9.0)

    assert posterior.by_shape
    assert position_um(posterior.mean_mm) == pytest.approx(0.0, abs=3.0)


def test_gains_that_differ_by_two_leave_focus_where_it_is() -> None:
    """Three images around focus, each brighter than the last by a factor of two in power."""
    camera = BeadCamera(noise=2.0, keeps_light=True, brightness=lambda k: 0.5 ** (1.0 - k / 2.0))

    posterior = seen_at(camera, 6.0, -6.0, 1.0)

    assert posterior.by_shape
    assert position_um(posterior.mean_mm) == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("kind", ["cells", "powder", "particles"])
@pytest.mark.parametrize("dose", [20.0, 200.0])
def test_scans_of_an_electron_microscope_fit_the_model(kind: str, dose: float) -> None:
    """Chi-square stays well below what frees the gains."""
    column = Column(kind, focus_mm=9.0, dose=dose, seed=3)
    scans = [
        Observation(9.0 + depths * DEPTH_MM, measure(column.scan(9.0 + depths * DEPTH_MM), ()).spectrum)
        for depths in (-9.0, -3.0, 0.5, 14.0)
    ]

    for count in (2, 3, 4):
        posterior = focus_posterior(
            scans[:count], FocusPrior(scans[0].working_distance_mm, 8.9, 9.1, COLUMN_DEPTH_UM)
        )
        assert not posterior.by_shape
        assert posterior.misfit < 0.75 * MISFIT
