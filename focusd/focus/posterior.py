"""Where focus is, as a probability, from any number of scans of one field at known working distances.

Out of focus the beam has the radius ``|z - z0| / D`` pixels: z the working distance, z0 the focus, D the
depth of field. So ring by ring the noise-corrected power of scan m is ``S |H(f; |z_m - z0| / D)|**2``, with
the specimen's power S the same in all scans. For each z0, D and shape of the spot the S that fits best is
taken in each ring, never a negative one (profile likelihood), and what is left counts against them:

    log L = 1/2 sum over rings of max(sum_m w G y, 0)**2 / sum_m w G**2

with y the noise-corrected powers, ``G = |H|**2`` and w one over the variance of y. The radius of the beam in
focus needs no place in this: it multiplies all scans alike and so goes into S.

Two scans give z0, because the curvature ``1 / D**2`` of the parabola of blur is known beforehand within about
30 %; a third gives D as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from focusd.focus.blur import Floats32, NoiseFree, SpotShape, noise_free, transfer_rows
from focusd.focus.spectrum import Floats, RadialSpectrum

MODEL_SLACK = 0.12
"""Relative error of a ring's power in this model: no real spot is round, nor a specimen flat or at rest."""
OBJECT_SLACK = 0.1
"""Share of a ring's own scatter from field to field that drift between scans lets in."""
GAIN_SCATTER = 0.05
"""Relative scatter of a whole scan's power: brightness, charging, contamination."""
DEPTH_LOG_SD = 0.3
"""How well the depth of field is known beforehand, unless it was learnt better."""
PRIOR_WIDTH_DEPTHS = 15.0
"""Half width of the prior of focus around the start; its Cauchy tails rule nothing out."""
BEYOND_DEPTHS = 30.0
"""How far outside the range focus is looked for, so that it can be told to lie there."""
NEAR_MODE_DEPTHS = 4.0
_FINEST_STEP_DEPTHS = 0.25
_STEP_OF_DISTANCE = 0.04
"""Step of the grid as a share of the distance to the nearest scan: far off nothing is known more finely."""
_DEPTH_SDS = np.linspace(-2.0, 2.0, 9)


@dataclass(frozen=True, slots=True)
class FocusPrior:
    """What is believed before the first scan."""

    centre_mm: float
    """Where focus is looked for first: where the lens stood."""
    low_mm: float
    high_mm: float
    depth_of_field_um: float
    depth_log_sd: float = DEPTH_LOG_SD
    """Standard deviation of the logarithm of the depth of field."""

    @property
    def depth_mm(self) -> float:
        """The depth of field as the working distance counts."""
        return self.depth_of_field_um / 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One scan."""

    working_distance_mm: float
    spectrum: RadialSpectrum
    dwell_time_us: float | None = None
    """Scans of one dwell time share a noise floor."""


@dataclass(frozen=True, eq=False)
class FocusPosterior:
    """What is believed after some scans.

    Built by ``focus_posterior``; probabilities sum to one.
    """

    prior: FocusPrior
    focus_mm: Floats
    """Grid of places, rising, finer near the scans."""
    depth_mm: Floats
    """Grid of depths of field, rising."""
    joint: Floats
    """Probability of each cell, shape (places, depths)."""

    @cached_property
    def _place(self) -> Floats:
        summed: Floats = self.joint.sum(axis=1)
        return summed

    @cached_property
    def mode_mm(self) -> float:
        """The likeliest place."""
        return float(self.focus_mm[np.argmax(self._place / np.gradient(self.focus_mm))])

    @cached_property
    def mean_mm(self) -> float:
        """Mean place near the likeliest one: another hill of the posterior does not draw it away."""
        near = np.abs(self.focus_mm - self.mode_mm) < NEAR_MODE_DEPTHS * self.prior.depth_mm
        return float(self._place[near] @ self.focus_mm[near] / self._place[near].sum())

    @cached_property
    def sd_mm(self) -> float:
        """Root mean square distance of focus from ``mean_mm``, all hills counted, and the grid's own step."""
        square = np.square(self.focus_mm - self.mean_mm) + np.square(np.gradient(self.focus_mm)) / 12.0
        return math.sqrt(float(self._place @ square))

    @cached_property
    def depth_of_field_um(self) -> float:
        """Depth of field: the mean of its logarithm."""
        return 1000.0 * math.exp(float(self.joint.sum(axis=0) @ np.log(self.depth_mm)))

    @cached_property
    def depth_log_sd(self) -> float:
        """Standard deviation of the logarithm of the depth of field, the grid's own step included."""
        logged = np.log(self.depth_mm * 1000.0 / self.depth_of_field_um)
        step = logged[1] - logged[0]
        return math.sqrt(float(self.joint.sum(axis=0) @ np.square(logged)) + step**2 / 12.0)

    def probability_off(self, place_mm: float, depths: float) -> float:
        """Probability that focus is more than so many depths of field away from a place."""
        off = np.abs(self.focus_mm - place_mm)[:, np.newaxis] > depths * self.depth_mm
        return float(self.joint[off].sum())

    def probability_nearer(self, place_mm: float, other_mm: float) -> float:
        """Probability that a place is nearer to focus than another one."""
        nearer = np.abs(self.focus_mm - place_mm) < np.abs(self.focus_mm - other_mm)
        return float(self._place[nearer].sum())

    def probability_beyond(self, bound_mm: float, *, above: bool) -> float:
        """Probability that focus lies above a place, or below it."""
        beyond = self.focus_mm > bound_mm if above else self.focus_mm < bound_mm
        return float(self._place[beyond].sum())


def focus_posterior(scans: Sequence[Observation], prior: FocusPrior) -> FocusPosterior:
    """Infer where focus is.

    Args:
        scans: At least one, of one field, all of one shape.
        prior: What is believed beforehand.

    Raises:
        ValueError: no scan, or scans of different shapes.
    """
    if not scans:
        raise ValueError("a posterior needs at least one scan")
    frames = noise_free([scan.spectrum for scan in scans], [scan.dwell_time_us for scan in scans])
    places = np.array([scan.working_distance_mm for scan in scans])
    focus_mm = _grid(places, prior)
    depth_mm = prior.depth_mm * np.exp(_DEPTH_SDS * prior.depth_log_sd)
    offset = np.abs(places[:, np.newaxis] - focus_mm)[..., np.newaxis] / depth_mm
    fit = _Fit(frames, scans[0].spectrum.frequency, offset)
    log_likelihood = np.array([fit.log_likelihood(shape) for shape in SpotShape])
    logged = log_likelihood + _log_prior(focus_mm, prior)
    joint = np.exp(logged - logged.max()).sum(axis=0)
    return FocusPosterior(prior, focus_mm, depth_mm, joint / joint.sum())


def _grid(places: Floats, prior: FocusPrior) -> Floats:
    """Lay places out over the range and beyond it, finely near the scans and coarsely far from them."""
    step_mm = _FINEST_STEP_DEPTHS * prior.depth_mm
    margin_mm = BEYOND_DEPTHS * prior.depth_mm
    low_mm = min(prior.low_mm, places.min()) - margin_mm
    high_mm = max(prior.high_mm, places.max()) + margin_mm
    knots = [low_mm, high_mm]
    for place in places:
        knots.extend(place + sign * step_mm / _STEP_OF_DISTANCE * k for sign in (-1, 1) for k in _FOLDS)
    dense = np.unique(np.clip(np.concatenate([knots, places]), low_mm, high_mm))
    distance = np.abs(dense[:, np.newaxis] - places).min(axis=1)
    density = 1.0 / np.maximum(step_mm, _STEP_OF_DISTANCE * distance)
    count = np.concatenate([[0.0], np.cumsum(np.diff(dense) * 0.5 * (density[1:] + density[:-1]))])
    grid: Floats = np.interp(np.linspace(0.0, count[-1], max(3, math.ceil(count[-1]) + 1)), count, dense)
    return grid


_FOLDS = np.concatenate([np.linspace(0.25, 1.0, 4), np.geomspace(1.25, 1e3, 32)])
"""Where the spacing of the grid is worked out around a scan; between these it is interpolated."""


def _log_prior(focus_mm: Floats, prior: FocusPrior) -> Floats:
    """Log prior of each cell: Cauchy in place (by the width of the cells), log-normal in depth."""
    away = (focus_mm - prior.centre_mm) / (PRIOR_WIDTH_DEPTHS * prior.depth_mm)
    place = np.log(np.gradient(focus_mm)) - np.log1p(np.square(away))
    logged: Floats = place[:, np.newaxis] - 0.5 * np.square(_DEPTH_SDS)
    return logged


class _Fit:
    """The scans against every cell of the grid; ``offset`` is the blur in px, (scans, places, depths)."""

    def __init__(self, frames: NoiseFree, frequency: Floats, offset: Floats) -> None:
        positive = frames.positive
        own = np.square(positive) * (MODEL_SLACK**2 + OBJECT_SLACK / frames.modes)
        weight = 1.0 / (frames.variance + own)
        self._weight: Floats32 = weight.astype(np.float32)
        self._weighted: Floats32 = (weight * frames.signal).astype(np.float32)
        self._frequency = frequency
        self._offset = offset

    def log_likelihood(self, shape: SpotShape) -> NDArray[np.float32]:
        rows = transfer_rows(self._frequency, shape)
        along = np.float32(0.0)
        square = np.float32(0.0)
        for offset, weight, weighted in zip(self._offset, self._weight, self._weighted, strict=True):
            seen = rows.at(offset)
            along = along + seen * weighted
            square = square + np.square(seen) * weight
        fitted: NDArray[np.float32] = np.square(np.maximum(along, 0.0)) / np.maximum(square, 1e-30)
        summed: NDArray[np.float32] = 0.5 * fitted.sum(axis=-1)
        return summed
