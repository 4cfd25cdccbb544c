"""Scans of one field are compared at the scale that tells them best, and a refocus is accepted by that."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from focusd.focus.acceptance import decide, same_focus
from focusd.focus.compare import MetricComparison, SpectralComparison, finest_clear_px, sharper
from focusd.focus.measure import Measurement, measure
from tests.unit.focus.optics import blurred, exposed, measured, scored, texture


def scan(
    radius_px: float, *, kind: str = "cells", dose: float = 20.0, gain: float = 1.0, seed: int = 0
) -> Measurement:
    """Measure one exposure."""
    rng = np.random.default_rng(seed)
    return measure(exposed(gain * blurred(texture(kind), radius_px), dose, rng), ["log_energy"])


@pytest.mark.parametrize("dose", [50.0, 20.0, 5.0])
@pytest.mark.parametrize("kind", ["cells", "powder", "particles"])
def test_the_sharper_is_told_from_near_to_far(kind: str, dose: float) -> None:
    """From in focus to far out, each scan is found clearly sharper than one twice as far."""
    scans = [scan(r, kind=kind, dose=dose, seed=i) for i, r in enumerate((0.0, 3.0, 6.0, 12.0))]

    evidence = [sharper(near.spectrum, far.spectrum) for near, far in pairwise(scans)]

    assert min(evidence) > 2.0


def test_evidence_is_antisymmetric() -> None:
    """Asked the other way round, the answer is the opposite."""
    near, far = scan(1.0).spectrum, scan(5.0, seed=1).spectrum

    assert sharper(near, far) == -sharper(far, near) > 0.0


def test_scans_of_one_focus_are_told_apart_by_chance_only() -> None:
    """Two scans at the same place differ by about one standard error, also when brightness flickers."""
    evidence = [
        sharper(scan(2.0, seed=i).spectrum, scan(2.0, seed=i + 100, gain=1.01).spectrum) for i in range(40)
    ]

    assert max(map(abs, evidence)) < 4.0
    assert float(np.std(evidence)) < 1.3


def test_nothing_but_noise_is_never_sharper() -> None:
    """Two empty fields have nothing to compare."""
    empty = [exposed(np.full((256, 256), 128.0), 20.0, np.random.default_rng(i)) for i in range(2)]
    one, other = (measure(pixels, []).spectrum for pixels in empty)

    assert sharper(one, other) == 0.0
    assert finest_clear_px(one, other) is None


def test_the_farther_the_coarser() -> None:
    """The finest scale that stands clear of noise grows with the blur."""
    scales = [finest_clear_px(scan(r).spectrum) or 99.0 for r in (0.0, 6.0, 16.0)]

    assert scales == sorted(scales)
    assert scales[0] < scales[-1]


@pytest.mark.parametrize("comparison", [SpectralComparison(), MetricComparison("log_energy")])
def test_the_objective_is_lowest_in_focus_and_finite_everywhere(
    comparison: SpectralComparison | MetricComparison,
) -> None:
    """Whatever noise does, the optimiser sees positive, finite numbers that fall towards focus."""
    scans = [scan(r, dose=8.0, seed=i) for i, r in enumerate((0.0, 2.0, 4.0, 60.0))]
    objective = comparison.objective(scans[:3])

    values = [objective(one) for one in scans]

    assert values[:3] == sorted(values[:3])
    assert all(0.0 < value < np.inf for value in values)


def test_the_objective_is_nearly_a_parabola() -> None:
    """Of three scans four depths of field apart the parabola's vertex is the focus."""
    offsets = (-5.5, -1.5, 2.5)
    scans = [measured(abs(offset)) for offset in offsets]

    objective = SpectralComparison().objective(scans)

    fit = np.polynomial.Polynomial.fit(offsets, [objective(one) for one in scans], 2).convert()
    assert -fit.coef[1] / (2.0 * fit.coef[2]) == pytest.approx(0.0, abs=0.4)


def test_a_metric_of_no_error_compares_by_its_value() -> None:
    """Noise-free scores differ infinitely clearly, or not at all."""
    comparison = MetricComparison("tenengrad")

    assert comparison.sharper(scored(2.0), scored(1.0)) == np.inf
    assert comparison.sharper(scored(1.0), scored(2.0)) == -np.inf
    assert comparison.sharper(scored(1.0), scored(1.0)) == 0.0


def test_a_sharper_end_is_accepted() -> None:
    """A fresh scan that is clearly sharper is accepted, with the gain of the metric."""
    start, end = scan(5.0), scan(0.5, seed=1)

    found = decide(start, end, metric="log_energy")

    assert found.accepted
    assert found.z_score > 5.0
    assert found.gain == end.scores["log_energy"].value / start.scores["log_energy"].value > 2.0


@pytest.mark.parametrize(("start_px", "end_px"), [(0.5, 5.0), (2.0, 2.0), (6.0, 6.5)])
def test_an_end_that_is_not_sharper_is_refused(start_px: float, end_px: float) -> None:
    """The same or a blurrier picture is no reason to stay."""
    found = decide(scan(start_px), scan(end_px, seed=1), metric="log_energy")

    assert not found.accepted
    assert "not clearly sharper" in found.reason


def test_an_end_that_cannot_be_judged_is_refused() -> None:
    """A saturated verification proves nothing."""
    end = scan(0.0, seed=1)
    spoilt = replace(end, quality=replace(end.quality, judgeable=False, reason="saturated"))

    found = decide(scan(5.0), spoilt, metric="log_energy")

    assert not found.accepted
    assert "saturated" in found.reason


def test_an_end_too_faint_to_judge_may_still_be_the_sharper() -> None:
    """The scans together may say where focus is although none is clear by itself."""
    end = scan(0.5, seed=1)
    faint = replace(end, quality=replace(end.quality, judgeable=False, reason="no_signal"))

    assert decide(scan(5.0), faint, metric="log_energy", probability_nearer=0.99).accepted


def test_a_sure_posterior_needs_no_sharper_picture_but_no_blurrier_one() -> None:
    """Two pictures that cannot be told apart do not speak against many that can."""
    start, blurrier = scan(2.0), scan(5.0, seed=1)

    def accepted(end: Measurement, probability: float, *, settled: bool = True) -> bool:
        return decide(
            start, end, metric="log_energy", probability_nearer=probability, settled=settled
        ).accepted

    assert accepted(start, 0.99)
    assert not accepted(start, 0.9)
    assert not accepted(start, 0.99, settled=False)
    assert not accepted(blurrier, 0.99)
    assert decide(start, blurrier, metric="log_energy", probability_nearer=0.99).is_worse


def test_a_score_that_fell_forbids_to_stay() -> None:
    """Whatever the spectra say, the metric asked for must not have become clearly worse."""
    start, end = scan(5.0), scan(0.5, seed=1)
    scores = {"log_energy": replace(start.scores["log_energy"], value=1e6, standard_error=1.0)}

    found = decide(replace(start, scores=scores), end, metric="log_energy")

    assert not found.accepted
    assert found.z_score > 5.0


def test_a_score_below_zero_gives_no_gain() -> None:
    """Noise may take a score below zero; the gain stays a number."""
    found = decide(scored(-1.0, 0.5), scored(-2.0, 0.5), metric="tenengrad")

    assert found.gain == 0.0


@pytest.mark.parametrize(("distance_mm", "same"), [(0.0, True), (0.0011, True), (0.0013, False)])
def test_the_same_focus_is_within_a_share_of_the_depth_of_field(distance_mm: float, same: bool) -> None:
    """Within 0.6 depths of field pictures look alike."""
    assert same_focus(9.0, 9.0 + distance_mm, depth_of_field_um=2.0) is same
