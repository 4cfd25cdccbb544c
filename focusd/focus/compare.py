"""Compare scans of one field: which is the sharper, and a number to minimise over the working distance.

The number is ``V**-0.5`` of a sharpness V: near focus it is almost a parabola in the working distance,
because the spectra of pictures fall with a power of the frequency. For the default metric V is the
noise-corrected energy at the finest scale at which every scan in question stands clear of noise: fine scales
are the more sensitive near focus, coarse ones see farther.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from focusd.focus.measure import Measurement
from focusd.focus.metrics import band_ratio_of
from focusd.focus.spectrum import RadialSpectrum, Score, log_energy

SCALES_PX = (1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0)
CLEAR = 6.0
"""Standard errors by which an energy must stand above noise to be compared."""
CLEAR_OF_FLOOR = 0.15
"""... and share of the noise's own energy: the floor is not known better than that to be white."""
FLOOR_HEADROOM = 1.1
"""A sharp frame has a little signal in the corners; noise does not differ by more between scans."""
GAIN_SCATTER = 0.03
"""Relative change of all power from one scan to the next that is not focus: brightness, charging."""

Objective: TypeAlias = Callable[[Measurement], float]


def common_floor(*spectra: RadialSpectrum) -> tuple[float, ...]:
    """Noise floor of each of some frames: its own, but at most 1.1 times what the least seen allows.

    The noise of ``n`` times the dwell time has at most the power of the shorter one's, and at least an
    ``n``-th of it.
    """
    return tuple(
        min(
            one.corner_power,
            *(FLOOR_HEADROOM * other.corner_power * max(1.0, times_longer(other, one)) for other in spectra),
        )
        for one in spectra
    )


def times_longer(one: RadialSpectrum, other: RadialSpectrum) -> float:
    """Tell how many times as long the beam rested on a pixel in the first; 1 where that is not known."""
    if one.dwell_time_us is None or other.dwell_time_us is None:
        return 1.0
    return one.dwell_time_us / other.dwell_time_us


def sharper(one: RadialSpectrum, other: RadialSpectrum) -> float:
    """Give the evidence that one frame is sharper than another of the same field, in standard errors.

    The energies of the two are compared at the scale that tells them best: a bit of blur changes the energy
    at scale sigma by a share that falls as ``1 / sigma**2``, and noise hides such a change the less the
    coarser the scale.

    Returns:
        Positive when the first is the sharper; 0 when neither stands clear of noise at any scale.
    """
    floors = common_floor(one, other)
    best, most_telling = 0.0, 0.0
    for sigma_px in SCALES_PX:
        if not (_is_clear(one, sigma_px, floors[0]) or _is_clear(other, sigma_px, floors[1])):
            continue
        mine, theirs = (
            log_energy(spectrum, sigma_px, floor=floor)
            for spectrum, floor in zip((one, other), floors, strict=True)
        )
        level = (max(mine.value, 0.0) + max(theirs.value, 0.0)) / 2.0
        error = math.hypot(mine.standard_error, theirs.standard_error, GAIN_SCATTER * level)
        telling = level / error / sigma_px**2
        if telling > most_telling:
            best, most_telling = (mine.value - theirs.value) / error, telling
    return best


def sharper_by_shape(one: RadialSpectrum, other: RadialSpectrum) -> float:
    """Give the evidence that one frame is sharper than another of other brightness, in standard errors.

    Fine detail over coarser detail is compared, in which gain cancels.
    """
    mine, theirs = band_ratio_of(one), band_ratio_of(other)
    level = (mine.value + theirs.value) / 2.0
    error = math.hypot(mine.standard_error, theirs.standard_error, GAIN_SCATTER * level)
    return (mine.value - theirs.value) / error if error > 0.0 else 0.0


def finest_clear_px(*spectra: RadialSpectrum) -> float | None:
    """Give the finest scale at which all the frames stand clear of noise; ``None`` when there is none."""
    floors = common_floor(*spectra)
    for sigma_px in SCALES_PX:
        if all(_is_clear(s, sigma_px, floor) for s, floor in zip(spectra, floors, strict=True)):
            return sigma_px
    return None


class Comparison(Protocol):
    """A way to compare scans of one field."""

    def sharper(self, one: Measurement, other: Measurement) -> float:
        """By how many standard errors the first is the sharper."""

    def objective(self, scans: Sequence[Measurement]) -> Objective:
        """Give a function to minimise that serves for these scans and for sharper ones."""


class SpectralComparison:
    """By the spectra, at the finest scale that stands clear of noise."""

    def sharper(self, one: Measurement, other: Measurement) -> float:
        """By how many standard errors the first is the sharper."""
        return sharper(one.spectrum, other.spectrum)

    def objective(self, scans: Sequence[Measurement]) -> Objective:
        """Give ``V**-0.5`` at one scale and above comparable noise floors."""
        spectra = [scan.spectrum for scan in scans]
        sigma_px = finest_clear_px(*spectra) or SCALES_PX[-1]

        def value(scan: Measurement) -> float:
            floor = common_floor(scan.spectrum, *spectra)[0]
            return _inverse_root(log_energy(scan.spectrum, sigma_px, floor=floor))

        return value


class MetricComparison:
    """By one of the metrics, as it is.

    Args:
        metric: Its name; the measurements must hold it, but for ``band_ratio``.
    """

    def __init__(self, metric: str) -> None:
        self._metric = metric

    def _score(self, scan: Measurement) -> Score:
        return band_ratio_of(scan.spectrum) if self._metric == "band_ratio" else scan.scores[self._metric]

    def sharper(self, one: Measurement, other: Measurement) -> float:
        """By how many standard errors the first scores higher."""
        mine, theirs = self._score(one), self._score(other)
        error = math.hypot(mine.standard_error, theirs.standard_error)
        if error == 0.0:
            return math.copysign(math.inf, mine.value - theirs.value) if mine.value != theirs.value else 0.0
        return (mine.value - theirs.value) / error

    def objective(self, scans: Sequence[Measurement]) -> Objective:  # noqa: ARG002 - the metric has one scale
        """Give ``V**-0.5`` of the metric."""
        return lambda scan: _inverse_root(self._score(scan))


def comparison(metric: str) -> Comparison:
    """Give the way to compare scans by a metric."""
    return SpectralComparison() if metric == "log_energy" else MetricComparison(metric)


def _is_clear(spectrum: RadialSpectrum, sigma_px: float, floor: float) -> bool:
    energy = log_energy(spectrum, sigma_px, floor=floor)
    noise = log_energy(spectrum, sigma_px, floor=0.0).value - energy.value
    return energy.value > CLEAR * energy.standard_error and energy.value > CLEAR_OF_FLOOR * noise


def _inverse_root(score: Score) -> float:
    """``V**-0.5``, V at least half its error: noise takes it below zero, which the optimiser must not see."""
    return 1.0 / math.sqrt(max(score.value, 0.5 * score.standard_error, 1e-12))
