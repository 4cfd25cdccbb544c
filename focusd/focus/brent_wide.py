"""The search as published: Brent's bounded method over the whole range on 1 / variance of the Laplacian.

It starts with two golden-section points of the range whatever the present focus is, counts noise as sharpness
and ends at the best of ``maxiter`` points without knowing whether that is a peak. Kept because it was asked
for and as the yardstick.
"""

from __future__ import annotations

from focusd.focus.asking import Scan, Search
from focusd.focus.outcome import SearchOutcome, SearchResult
from focusd.focus.replay import next_step


class BrentWideSearch(Search):
    """``minimize_scalar(f, bounds=(low, high), method="bounded", options={"maxiter": ...})``, ask by ask.

    Args:
        low_mm: Lowest working distance.
        high_mm: Highest.
        maxiter: Evaluations scipy may use.
        max_scans: Scans the search may use; the lesser of the two rules.
    """

    def __init__(self, *, low_mm: float, high_mm: float, maxiter: int, max_scans: int) -> None:
        super().__init__(max_scans)
        self._bounds = (low_mm, high_mm)
        self._maxiter = maxiter
        self._objective: dict[float, float] = {}

    def _take_in(self, scan: Scan) -> None:
        variance = scan.measurement.laplacian_variance
        # A featureless frame has no variance: as bad as can be, yet finite, as scipy needs it.
        self._objective[scan.working_distance_mm] = 1.0 / max(variance, 1e-12)

    def _next(self) -> float | SearchOutcome:
        step = next_step(self._objective.get, self._bounds, maxiter=self._maxiter)
        if not step.done:
            return step.x
        return SearchOutcome(step.x, SearchResult.FOUND, f"{len(self._objective)} scans of Brent's method")

    def _spent(self) -> SearchOutcome:
        """The best scan so far."""
        best_mm = min(self._objective, key=self._objective.__getitem__, default=None)
        reason = f"stopped after {len(self._objective)} scans"
        return SearchOutcome(best_mm, SearchResult.BUDGET, reason)
