"""The regression behind the focus surface under one guess at what cannot be seen; see ``surface``.

Lengths across the specimen in mm from the middle of the points, focus in um from their median, time in hours
before the newest point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]

SLOPE_SD_UM_PER_MM = 100.0
"""Prior of the tilt along x and along y: specimens lie within a few degrees of the stage (1 degree is 17)."""
MAX_TILT_DEG = 80.0
DRIFT_SD_UM_PER_HOUR = 50.0
"""Prior of the drift: a column or stage that warms up."""
POINT_SD_DEPTHS = 0.3
"""What a refocus is off by beyond what it knows of, in depths of field."""

_CONSTANT_SD_DEPTHS = 1000.0
_AMPLITUDES_DEPTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
_LENGTHS = 6
_SHORTEST_FIELDS = 2.0
_LONGEST_GROWTH = 64.0
_FLATNESS_DEPTHS = 1.0
"""A picture whose parts lie farther apart than this could not be sharp all over, so relief is less steep."""
_WANDERS_UM_PER_ROOT_HOUR = (1.0, 4.0, 12.0)


@dataclass(frozen=True, slots=True)
class FocusSample:
    """Focus as it was found at one place and time."""

    x_mm: float
    """Of the stage."""
    y_mm: float
    at_s: float
    working_distance_mm: float
    standard_deviation_um: float
    """Of the working distance."""


@dataclass(frozen=True, slots=True)
class Guess:
    """One guess at what cannot be seen."""

    length_mm: float
    """Distance over which the relief about the plane changes, ..."""
    amplitude_um: float
    """... its standard deviation, ..."""
    wander_um: float
    """... and that of the focus after an hour of wandering."""


@dataclass(frozen=True, slots=True)
class Solved:
    """The regression under one guess."""

    guess: Guess
    inverse_root: Values
    """Inverse of the Cholesky factor of the points' covariance, ..."""
    innovations: Values
    """... each point's distance from what those before it say, in standard deviations, ..."""
    innovation_sd: Values
    """... and those standard deviations, um."""
    log_evidence: float
    """Log marginal likelihood, up to a constant."""
    log_predicted: Values
    """Log density of each point given all the others."""


@dataclass(frozen=True, slots=True)
class Points:
    """The points, oldest first, in coordinates of their own."""

    depth_um: float
    field_mm: float
    slope_sd_um_per_mm: float
    centre_mm: Values
    newest_s: float
    origin_um: float
    place_mm: Values
    hours: Values
    """Before the newest point: none is above 0."""
    focus_um: Values
    variance_um2: Values

    @classmethod
    def of(
        cls, samples: Sequence[FocusSample], depth_um: float, field_mm: float | None, tilt_deg: float
    ) -> Points:
        """Take them over; without the width of a frame their own spacing stands for it."""
        place_mm = np.array([(one.x_mm, one.y_mm) for one in samples])
        at_s = np.array([one.at_s for one in samples])
        focus_um = np.array([one.working_distance_mm for one in samples]) * 1000.0
        sd_um = np.array([one.standard_deviation_um for one in samples])
        centre_mm, newest_s, origin_um = place_mm.mean(axis=0), float(at_s.max()), float(np.median(focus_um))
        return cls(
            depth_um=depth_um,
            field_mm=field_mm or _spacing(place_mm) or 1.0,
            slope_sd_um_per_mm=_slope_sd(tilt_deg),
            centre_mm=centre_mm,
            newest_s=newest_s,
            origin_um=origin_um,
            place_mm=place_mm - centre_mm,
            hours=(at_s - newest_s) / 3600.0,
            focus_um=focus_um - origin_um,
            variance_um2=sd_um**2 + (POINT_SD_DEPTHS * depth_um) ** 2,
        )

    def __len__(self) -> int:
        """How many there are."""
        return len(self.focus_um)

    def newest(self, count: int) -> Points:
        """Give the last so many."""
        if len(self) <= count:
            return self
        return replace(
            self,
            place_mm=self.place_mm[-count:],
            hours=self.hours[-count:],
            focus_um=self.focus_um[-count:],
            variance_um2=self.variance_um2[-count:],
        )

    @property
    def basis(self) -> Values:
        """Constant, x, y and time of each."""
        return np.column_stack([np.ones(len(self)), self.place_mm, self.hours])

    @property
    def prior_sd(self) -> Values:
        """Of the constant, the slopes along x and y, and the drift."""
        constant_um = _CONSTANT_SD_DEPTHS * self.depth_um
        slope = self.slope_sd_um_per_mm
        return np.array([constant_um, slope, slope, DRIFT_SD_UM_PER_HOUR])

    def guesses(self) -> list[Guess]:
        """Give a grid of them: relief from two frames to the extent of the points, as steep as may be."""
        shortest = _SHORTEST_FIELDS * self.field_mm
        extent = float(np.linalg.norm(np.ptp(self.place_mm, axis=0)))
        lengths = np.geomspace(shortest, max(extent, _LONGEST_GROWTH * shortest), _LENGTHS)
        steepest = _FLATNESS_DEPTHS * self.depth_um / self.field_mm
        return [
            Guess(float(length), amplitude * self.depth_um, wander)
            for length, amplitude, wander in product(lengths, _AMPLITUDES_DEPTHS, _WANDERS_UM_PER_ROOT_HOUR)
            if _slope(amplitude * self.depth_um, length) <= steepest
        ]

    def solve(self, guess: Guess) -> Solved:
        """Do the regression under one guess."""
        covariance = self._covariance(guess, self.place_mm, self.hours) + np.diag(self.variance_um2)
        root = np.linalg.cholesky(covariance)
        inverse_root = np.linalg.inv(root)
        innovations = inverse_root @ self.focus_um
        weights = inverse_root.T @ innovations
        precision = np.sum(inverse_root**2, axis=0)
        innovation_sd = np.diag(root)
        return Solved(
            guess=guess,
            inverse_root=inverse_root,
            innovations=innovations,
            innovation_sd=innovation_sd,
            log_evidence=-0.5 * float(innovations @ innovations) - float(np.log(innovation_sd).sum()),
            log_predicted=-0.5 * weights**2 / precision + 0.5 * np.log(precision / (2.0 * math.pi)),
        )

    def predict(self, solved: Solved, places_mm: Values, at_s: float) -> tuple[Values, Values]:
        """Give mean and variance of focus at places (rows of x and y), under one guess.

        The mean is in um from ``origin_um``, the variance in um2.
        """
        place_mm = places_mm - self.centre_mm
        hours = np.full(len(place_mm), (at_s - self.newest_s) / 3600.0)
        explained = solved.inverse_root @ self._covariance(solved.guess, place_mm, hours).T
        linear = np.column_stack([np.ones(len(hours)), place_mm, hours]) * self.prior_sd
        walked = solved.guess.wander_um**2 * np.maximum(hours - self.hours.min(), 0.0)
        own = np.sum(linear**2, axis=1) + solved.guess.amplitude_um**2 + walked
        return solved.innovations @ explained, own - np.sum(explained**2, axis=0)

    def coefficient(self, solved: Solved, column: int) -> tuple[Values, Values]:
        """Give mean and variance of a coefficient of ``basis`` under one guess, one of each."""
        prior_sd = float(self.prior_sd[column])
        explained = solved.inverse_root @ self.basis[:, column] * prior_sd
        left = max(0.0, 1.0 - float(explained @ explained))
        return np.array([prior_sd * float(explained @ solved.innovations)]), np.array([prior_sd**2 * left])

    def _covariance(self, guess: Guess, place_mm: Values, hours: Values) -> Values:
        """Covariance of focus between places and times (rows) and the points (columns), um2."""
        there = np.column_stack([np.ones(len(hours)), place_mm, hours]) * self.prior_sd
        linear: Values = there @ (self.basis * self.prior_sd).T
        apart = np.linalg.norm(place_mm[:, None, :] - self.place_mm[None, :, :], axis=2)
        # A random walk that begins at the oldest point.
        oldest = self.hours.min()
        walked = np.maximum(np.minimum(hours[:, None] - oldest, self.hours[None, :] - oldest), 0.0)
        relief = guess.amplitude_um**2 * _matern(apart / guess.length_mm)
        covariance: Values = linear + relief + guess.wander_um**2 * walked
        return covariance


def _matern(apart: Values) -> Values:
    """Correlation of the relief (Matern 5/2), by distance over its length."""
    scaled = math.sqrt(5.0) * apart
    correlation: Values = (1.0 + scaled + scaled**2 / 3.0) * np.exp(-scaled)
    return correlation


def _slope(amplitude_um: float, length_mm: float) -> float:
    """Root mean square slope of such relief along one direction, um per mm."""
    return math.sqrt(5.0 / 3.0) * amplitude_um / length_mm


def _slope_sd(tilt_deg: float) -> float:
    """Prior of the slopes on a stage so tilted: which way it tilts is not told."""
    tilt = math.radians(min(abs(tilt_deg), MAX_TILT_DEG))
    return math.hypot(SLOPE_SD_UM_PER_MM, 1000.0 * math.tan(tilt))


def _spacing(place_mm: Values) -> float:
    """Median distance from a point to its nearest neighbour; 0 if there is none, or all lie in one place."""
    if len(place_mm) < 2:
        return 0.0
    apart = np.linalg.norm(place_mm[:, None, :] - place_mm[None, :, :], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(axis=1)))
