"""Control charts: they add up small evidence over many frames until it is enough.

Each is handed, frame by frame, how far the log score is from its reference in units of its scatter, and gives
its statistic as a share of its limit: 0 is no evidence of a fall, 1 is an alarm. Only falls count; the
statistic never goes below 0, and never above 1, so that a chart recovers as fast after a long loss as after a
short one.
"""

from __future__ import annotations

import math
from typing import Protocol

AT_REST = 0.1
"""Share of its limit under which an average is taken for 0. Unlike the sum, it makes no allowance for frames
a little below their reference, and would call them the beginning of a loss that comes much later."""


class Chart(Protocol):
    """Adds up deviations."""

    def fold(self, deviation: float) -> float:
        """Take in one frame's deviation (below the reference is negative); give the statistic, 0 to 1."""

    def reset(self) -> None:
        """Forget all frames."""


class Cusum:
    """Cumulative sum of how far frames fell by more than an allowance.

    ``S = max(0, S - deviation - reference)``, an alarm at ``limit``.

    Args:
        reference: Allowance a frame, in units of the scatter: half the shift that is worth noticing.
        limit: Sum that is an alarm, in units of the scatter.

    Source: E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954.
    """

    def __init__(self, reference: float, limit: float) -> None:
        if not (reference >= 0.0 and limit > 0.0):
            raise ValueError(
                f"reference must be at least 0 and limit above 0, got {reference:g} and {limit:g}"
            )
        self._reference = reference
        self._limit = limit
        self._sum = 0.0

    def fold(self, deviation: float) -> float:
        """Take in one frame's deviation; give the sum as a share of the limit."""
        self._sum = min(max(0.0, self._sum - deviation - self._reference), self._limit)
        return self._sum / self._limit

    def reset(self) -> None:
        """Forget all frames."""
        self._sum = 0.0


class Ewma:
    """Exponentially weighted moving average of the falls.

    ``A = max(0, (1 - weight) A - weight * deviation)``, an alarm at ``limit`` standard deviations of the
    average of independent frames, ``sqrt(weight / (2 - weight))``.

    Args:
        weight: Of the newest frame, above 0 and at most 1; the average remembers about ``2 / weight`` frames.
        limit: Average that is an alarm, in its own standard deviations.

    Source: S. W. Roberts, "Control chart tests based on geometric moving averages", Technometrics 1, 1959.
    """

    def __init__(self, weight: float, limit: float) -> None:
        if not (0.0 < weight <= 1.0 and limit > 0.0):
            raise ValueError(
                f"weight must be above 0 and at most 1, and limit above 0, got {weight:g} and {limit:g}"
            )
        self._weight = weight
        self._limit = limit * math.sqrt(weight / (2.0 - weight))
        self._average = 0.0

    def fold(self, deviation: float) -> float:
        """Take in one frame's deviation; give the average as a share of the limit."""
        average = (1.0 - self._weight) * self._average - self._weight * deviation
        self._average = min(max(0.0, average), self._limit)
        share = self._average / self._limit
        return share if share > AT_REST else 0.0

    def reset(self) -> None:
        """Forget all frames."""
        self._average = 0.0
