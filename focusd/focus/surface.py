"""Where focus is over the stage: predicted from the focus found at other places and times, and how surely.

The model is Gaussian-process regression: a plane, a drift at a steady rate, smooth relief about the plane
(Matern 5/2), a wandering of the focus in time (a random walk), and the error of each point. The plane and the
rate have Gaussian priors and are part of the covariance, so one point gives a constant, two points are shared
out between tilt and drift as their priors have it, and with each further point less is taken for granted.

How large and how smooth the relief is, and how fast focus wanders, is not known either: predictions are
averaged over a grid of such values, each weighted by its marginal likelihood, within bounds that come from
optics. So few points give wide standard deviations and not a lucky fit. Two things keep them honest where the
model is wrong: a point that the others cannot explain is left out, and standard deviations grow by how badly
the last points had been predicted.

Source:
    C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, 2006: equations 2.25 and
    2.26 (prediction), 2.30 (marginal likelihood), 2.7 (linear mean), 4.17 (Matern), 5.10 to 5.12
    (leave-one-out in closed form). H. Rue, S. Martino, N. Chopin, J. R. Statist. Soc. B 71, 2009, section
    3.1 (averaging over a grid of hyperparameters). A. Shah, A. Wilson, Z. Ghahramani, Student-t Processes as
    Alternatives to Gaussian Processes, AISTATS 2014, equation 7 (scaling the variance by how well what came
    before was predicted).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from focusd.focus.surface_model import FocusSample, Points, Solved, Values

__all__ = ["FocusSample", "FocusSurface", "PredictedFocus", "SurfaceFit"]

_JUDGED_POINTS = 120
"""The newest so many decide on smoothness and outliers; more would tell little new and cost time."""
_LEAST_WEIGHT = 0.02
"""Guesses that explain the points so much worse than the best one are dropped."""
_OUTLIER_SHARE = 0.02
_OUTLIER_SPREAD_DEPTHS = 200.0
"""Width over which the focus of a refocus gone wrong may lie anywhere."""
_LEAST_POINTS_TO_DOUBT = 5
_TRUSTED_POINTS = 4.0
"""So many points well predicted, as it were, before the first: Student's degrees of freedom."""
_RECENT_POINTS = 8
_PREDICTED_DEPTHS = 4.0
"""A point counts as predicted if that was surer than this."""


@dataclass(frozen=True, slots=True)
class PredictedFocus:
    """Where focus is expected, and the standard deviation of that."""

    working_distance_mm: float
    standard_deviation_um: float


@dataclass(frozen=True, slots=True)
class SurfaceFit:
    """What the points say of the specimen and the microscope, with standard deviations."""

    points: int
    left_out: tuple[int, ...]
    """Points, by their place in the sequence, that the others cannot explain."""
    tilt_x_um_per_mm: float
    """Growth of the working distance along x."""
    tilt_x_sd_um_per_mm: float
    tilt_y_um_per_mm: float
    tilt_y_sd_um_per_mm: float
    drift_um_per_hour: float
    drift_sd_um_per_hour: float
    relief_um: float
    """Standard deviation of the relief about the plane."""
    relief_length_mm: float
    """Distance over which the relief changes."""
    widening: float
    """Factor by which standard deviations were raised, because the last points had been predicted badly."""


class FocusSurface:
    """Predicts focus; made by ``fit``.

    Args:
        points: The points that count.
        solved: The regression under the guesses that explain them, each with its weight; these add up to 1.
        left_out: Points that do not count.
    """

    def __init__(
        self, points: Points, solved: Sequence[tuple[float, Solved]], left_out: Sequence[int]
    ) -> None:
        self._points = points
        self._shares = np.array([share for share, _ in solved])
        self._solved = tuple(one for _, one in solved)
        self._left_out = tuple(left_out)
        self._widening = _widening(self._shares, self._solved, points.depth_um)

    @classmethod
    def fit(
        cls,
        samples: Sequence[FocusSample],
        *,
        depth_of_field_um: float,
        field_mm: float | None = None,
        tilt_deg: float = 0.0,
    ) -> FocusSurface:
        """Fit the surface to points; a few tenths of a second for 500 of them.

        Args:
            samples: At least one point, oldest first.
            depth_of_field_um: Defocus that adds one pixel of blur.
            field_mm: Width of a frame: a sharp one tells that relief is not steeper than it can bear.
            tilt_deg: Of the stage: the ground may be as steep as that, and by a few degrees more.

        Raises:
            ValueError: there is no point, or a number makes no sense.
        """
        _check(samples, depth_of_field_um, field_mm, tilt_deg)
        chosen = list(range(len(samples)))
        left_out: list[int] = []
        while True:
            counted = [samples[index] for index in chosen]
            points = Points.of(counted, depth_of_field_um, field_mm, tilt_deg)
            recent = points.newest(_JUDGED_POINTS)
            solved = [recent.solve(guess) for guess in recent.guesses()]
            worst = _unexplained(recent, solved) if len(left_out) < len(samples) // 5 else None
            if worst is None:
                break
            left_out.append(chosen.pop(worst + len(points) - len(recent)))
        weighed = _weighed(solved)
        if recent is not points:
            weighed = [(weight, points.solve(one.guess)) for weight, one in weighed]
        return cls(points, weighed, sorted(left_out))

    def predict(self, x_mm: float, y_mm: float, at_s: float) -> PredictedFocus:
        """Say where focus is at a place and a time; see ``predict_all``."""
        return self.predict_all([(x_mm, y_mm)], at_s)[0]

    def predict_all(self, places_mm: Sequence[tuple[float, float]], at_s: float) -> list[PredictedFocus]:
        """Say where focus is at places (x, y), at a time.

        The standard deviation is that of focus itself: what a refocus there found would scatter by more.
        """
        rows = np.array(places_mm, dtype=np.float64).reshape(-1, 2)
        means_um, sds_um = self._mixed([self._points.predict(one, rows, at_s) for one in self._solved])
        return [
            PredictedFocus((self._points.origin_um + mean_um) / 1000.0, sd_um)
            for mean_um, sd_um in zip(means_um.tolist(), sds_um.tolist(), strict=True)
        ]

    @property
    def summary(self) -> SurfaceFit:
        """The fit in figures."""
        (x, x_sd), (y, y_sd), (drift, drift_sd) = (self._coefficient(column) for column in (1, 2, 3))
        return SurfaceFit(
            points=len(self._points) + len(self._left_out),
            left_out=self._left_out,
            tilt_x_um_per_mm=x,
            tilt_x_sd_um_per_mm=x_sd,
            tilt_y_um_per_mm=y,
            tilt_y_sd_um_per_mm=y_sd,
            drift_um_per_hour=drift,
            drift_sd_um_per_hour=drift_sd,
            relief_um=float(self._shares @ [one.guess.amplitude_um for one in self._solved]),
            relief_length_mm=float(self._shares @ [one.guess.length_mm for one in self._solved]),
            widening=self._widening,
        )

    def _coefficient(self, column: int) -> tuple[float, float]:
        mean, sd = self._mixed([self._points.coefficient(one, column) for one in self._solved])
        return float(mean[0]), float(sd[0])

    def _mixed(self, moments: Sequence[tuple[Values, Values]]) -> tuple[Values, Values]:
        """Give means and widened standard deviations over all guesses, from the moments under each."""
        means = np.array([mean for mean, _ in moments])
        variances = np.array([variance for _, variance in moments])
        mean: Values = self._shares @ means
        variance: Values = self._shares @ (variances + (means - mean) ** 2)
        return mean, self._widening * np.sqrt(np.maximum(variance, 0.0))


def _weighed(solved: Sequence[Solved]) -> list[tuple[float, Solved]]:
    """Give the guesses that matter, each with its share by marginal likelihood."""
    evidence = np.array([one.log_evidence for one in solved])
    weights = np.exp(evidence - evidence.max())
    kept = [index for index, weight in enumerate(weights) if weight >= _LEAST_WEIGHT]
    total = float(weights[kept].sum())
    return [(float(weights[index]) / total, solved[index]) for index in kept]


def _unexplained(points: Points, solved: Sequence[Solved]) -> int | None:
    """Give the point that a refocus gone wrong explains better than the other points do."""
    if len(points) < _LEAST_POINTS_TO_DOUBT:
        return None
    # p(it | the others) = p(all) / p(the others), each summed over the guesses;
    # under one guess p(the others) = p(all) / p(it | the others).
    evidence = np.array([one.log_evidence for one in solved])
    others = evidence[:, None] - np.array([one.log_predicted for one in solved])
    predicted = _log_sum(evidence[:, None])[0] - _log_sum(others)
    astray = math.log(_OUTLIER_SHARE / (1.0 - _OUTLIER_SHARE))
    astray -= math.log(_OUTLIER_SPREAD_DEPTHS * points.depth_um)
    worst = int(np.argmin(predicted))
    return worst if predicted[worst] < astray else None


def _log_sum(values: Values) -> Values:
    top = values.max(axis=0)
    total: Values = top + np.log(np.exp(values - top).sum(axis=0))
    return total


def _widening(shares: Values, solved: Sequence[Solved], depth_um: float) -> float:
    """Give the factor for standard deviations: how badly the last points were predicted, never under 1."""
    missed, count = 0.0, 0.0
    for share, one in zip(shares, solved, strict=True):
        told = np.flatnonzero(one.innovation_sd < _PREDICTED_DEPTHS * depth_um)[-_RECENT_POINTS:]
        missed += share * float(np.sum(one.innovations[told] ** 2))
        count += share * len(told)
    return math.sqrt(max(1.0, (_TRUSTED_POINTS + missed) / (_TRUSTED_POINTS + count)))


def _check(samples: Sequence[FocusSample], depth_um: float, field_mm: float | None, tilt_deg: float) -> None:
    if not samples:
        raise ValueError("a surface needs at least one point")
    sizes = [depth_um, 1.0 if field_mm is None else field_mm, *(one.standard_deviation_um for one in samples)]
    if not all(math.isfinite(size) and size > 0.0 for size in sizes):
        raise ValueError("the depth of field, the field and all standard deviations must be positive")
    places = [(one.x_mm, one.y_mm, one.at_s, one.working_distance_mm) for one in samples]
    if not (np.isfinite(places).all() and math.isfinite(tilt_deg)):
        raise ValueError("places, times, working distances and the tilt must be finite")
