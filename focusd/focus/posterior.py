"""Where focus is, as a probability, from any number of scans of one field at known working distances.

Out of focus the beam has the radius ``|z - z0| / D`` pixels: z the working distance, z0 the focus, D the
depth of field. How well each z0, D and shape of the spot explain the scans is said by ``fit``, with the
specimen's spectrum profiled out ring by ring.

Two scans give z0, because the curvature ``1 / D**2`` of the parabola of blur is known beforehand within about
30 %; a third gives D as well, also where it was told wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from focusd.focus.blur import Floats32, noise_free
from focusd.focus.fit import Fit, Grid
from focusd.focus.spectrum import Floats, RadialSpectrum

TEMPER = 0.4
"""Power to which the likelihood is raised. Neighbouring rings share the errors of the model, so the rings
are worth fewer than their number."""
MISFIT = 3.0
"""Chi-square for each degree of freedom from which on scans are no blurred copies of one picture. Simulated
columns, also worn ones, stayed below 2.6; of real frames of high dose one pair had 3.5 and three 2.2; beads
that keep their peak while they widen have 4 to 30."""
FREE_GAIN_EVIDENCE = 10.0
"""How much likelier, as a power of e, free gains must then make the scans."""
DEPTH_LOG_SD = 0.3
"""How well the depth of field is known beforehand, unless it was learnt better."""
PRIOR_WIDTH_DEPTHS = 15.0
"""Half width of the prior of focus around the start; its Cauchy tails rule nothing out."""
BEYOND_DEPTHS = 30.0
"""How far outside the range focus is looked for, so that it can be told to lie there."""
NEAR_MODE_DEPTHS = 4.0
COARSE_DEPTHS = 15
FINE_DEPTHS = 17
"""Depths of field on the coarse grid that finds the hill, and on the fine one that covers it."""
FINE_PLACES = 160
FINEST = 6.0
"""The fine grid has so many places, but steps no finer than the coarse one's by more than this."""
_STEP_DEPTHS = 0.25
_STEP_OF_DISTANCE = 0.04
"""Step of the coarse grid near the scans, and as a share of the distance to the nearest: far off nothing is
known more finely."""
_DEPTH_SDS = 4.5
"""How far from the expected depth of field the grid reaches, in standard deviations."""
_TAIL_SDS = 1.5
"""From here on a depth of field grows less likely only exponentially: who configures it may be wrong by more
than they think, by a factor of 3 or 4 with another pixel size or aperture."""
_COUNTS = 25.0
"""Cells less likely than the best by more than this power of e do not count."""


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
    misfit: float
    """Chi-square of the likeliest cell for each degree of freedom, by the errors that are known of."""
    by_shape: bool
    """Whether the scans differ in gain, so that only the shapes of their spectra tell of focus."""

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
    def overall_mean_mm(self) -> float:
        """Mean place, all hills counted."""
        return float(self._place @ self.focus_mm)

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
    places = np.array([scan.working_distance_mm for scan in scans])
    fit = Fit(noise_free([scan.spectrum for scan in scans]), scans[0].spectrum.frequency, places)
    coarse = _coarse_grid(places, prior)
    chosen = _chosen(fit, coarse, _log_prior(coarse, prior), n_scans=len(scans))
    fine = _finer_grid(coarse, chosen.logged.max(axis=0), places, prior)
    explained = chosen.likelihood(fine)
    logged = chosen.temper * explained + _log_prior(fine, prior)
    joint = np.exp(logged - logged.max()).sum(axis=0)
    return FocusPosterior(
        prior,
        fine.focus_mm,
        fine.depth_mm,
        joint / joint.sum(),
        misfit=fit.chi_square(explained.ravel()[np.argmax(logged)]),
        by_shape=chosen.by_shape,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """How the scans are explained."""

    by_shape: bool
    likelihood: Callable[[Grid], Floats32]
    temper: float
    logged: Floats
    """Log posterior of each cell and shape of the spot on the coarse grid."""


def _chosen(fit: Fit, grid: Grid, log_prior: Floats, *, n_scans: int) -> _Model:
    """Hold the gains to one, unless that leaves too much unexplained and free gains explain it."""
    explained = fit.log_likelihood(grid)
    logged = TEMPER * explained + log_prior
    best = np.unravel_index(np.argmax(logged), logged.shape)
    misfit = fit.chi_square(explained[best])
    if misfit > MISFIT:
        by_shape = fit.log_likelihood_of_shapes(grid)
        logged_by_shape = TEMPER * by_shape + log_prior
        if logged_by_shape.max() > logged.max() + FREE_GAIN_EVIDENCE:
            misfit = fit.chi_square(by_shape.ravel()[np.argmax(logged_by_shape)])
            temper = _tempered(misfit)
            return _Model(True, fit.log_likelihood_of_shapes, temper, temper * by_shape + log_prior)
    if n_scans > 1:
        fit.level_gains(grid, best)
    temper = _tempered(misfit)
    return _Model(False, fit.log_likelihood, temper, temper * explained + log_prior)


def _tempered(misfit: float) -> float:
    """Errors are at least as large as what is left unexplained."""
    return TEMPER * MISFIT / max(misfit, MISFIT)


def _coarse_grid(places: Floats, prior: FocusPrior) -> Grid:
    """Cover the range and some way beyond it, and all depths of field that may be."""
    margin_mm = BEYOND_DEPTHS * prior.depth_mm
    low_mm = min(prior.low_mm, float(places.min())) - margin_mm
    high_mm = max(prior.high_mm, float(places.max())) + margin_mm
    sds = np.linspace(-_DEPTH_SDS, _DEPTH_SDS, COARSE_DEPTHS)
    return Grid(
        _laid_out(low_mm, high_mm, places, prior.depth_mm, fineness=1.0),
        prior.depth_mm * np.exp(sds * prior.depth_log_sd),
    )


def _finer_grid(coarse: Grid, logged: Floats, places: Floats, prior: FocusPrior) -> Grid:
    """Cover the part of a grid that counts with about as many cells as the whole had."""
    counts = logged > logged.max() - _COUNTS
    rows, columns = (np.flatnonzero(counts.any(axis=axis)) for axis in (1, 0))
    low_mm, high_mm = (
        float(coarse.focus_mm[np.clip(k, 0, len(coarse.focus_mm) - 1)]) for k in (rows[0] - 2, rows[-1] + 2)
    )
    narrow, wide = (
        float(coarse.depth_mm[np.clip(k, 0, len(coarse.depth_mm) - 1)])
        for k in (columns[0] - 1, columns[-1] + 1)
    )
    whole = _laid_out(low_mm, high_mm, places, prior.depth_mm, fineness=1.0)
    fineness = min(FINE_PLACES / len(whole), FINEST)
    focus_mm = _laid_out(low_mm, high_mm, places, prior.depth_mm, fineness=fineness)
    return Grid(focus_mm, np.geomspace(narrow, wide, FINE_DEPTHS))


def _laid_out(low_mm: float, high_mm: float, places: Floats, depth_mm: float, *, fineness: float) -> Floats:
    """Lay places out from low to high, finely near the scans and coarsely far from them."""
    step_mm = _STEP_DEPTHS * depth_mm
    reach = step_mm / _STEP_OF_DISTANCE * np.concatenate([-_FOLDS[::-1], [0.0], _FOLDS])
    knots = np.concatenate([[low_mm, high_mm], np.add.outer(places, reach).ravel()])
    dense = np.unique(np.clip(knots, low_mm, high_mm))
    distance = np.abs(dense[:, np.newaxis] - places).min(axis=1)
    density = fineness / np.maximum(step_mm, _STEP_OF_DISTANCE * distance)
    count = np.concatenate([[0.0], np.cumsum(np.diff(dense) * 0.5 * (density[1:] + density[:-1]))])
    grid: Floats = np.interp(np.linspace(0.0, count[-1], max(3, math.ceil(count[-1]) + 1)), count, dense)
    return grid


_FOLDS = np.concatenate([np.linspace(0.25, 1.0, 4), np.geomspace(1.25, 1e3, 32)])
"""Where the spacing of the grid is worked out around a scan; between these it is interpolated."""


def _log_prior(grid: Grid, prior: FocusPrior) -> Floats:
    """Log prior of each cell: Cauchy in place (by the width of the cells), log-normal with tails in depth."""
    away = (grid.focus_mm - prior.centre_mm) / (PRIOR_WIDTH_DEPTHS * prior.depth_mm)
    place = np.log(np.gradient(grid.focus_mm)) - np.log1p(np.square(away))
    sds = np.log(grid.depth_mm / prior.depth_mm) / prior.depth_log_sd
    off = np.abs(sds)
    fall = np.where(off < _TAIL_SDS, 0.5 * np.square(off), _TAIL_SDS * (off - 0.5 * _TAIL_SDS))
    logged: Floats = place[:, np.newaxis] - fall
    return logged
