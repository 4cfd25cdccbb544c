"""The search as published: Brent's bounded method over the whole range on 1 / variance of the Laplacian.

It starts with two golden-section points of the range whatever the present focus is, counts noise as sharpness
and ends at the best of ``maxiter`` points without knowing whether that is a peak. Kept because it was asked
for and as the yardstick; ``brent`` is the default.
"""

from __future__ import annotations

from focusd.focus.measure import Measurement
from focusd.focus.outcome import SearchOutcome, SearchResult
from focusd.focus.replay import Step, next_step


class BrentWideSearch:
    """``minimize_scalar(f, bounds=(low, high), method="bounded", options={"maxiter": ...})``, ask by ask.

    Args:
        low_mm: Lowest working distance.
        high_mm: Highest.
        maxiter: Evaluations scipy may use.
        max_scans: Scans the search may use; the lesser of the two rules.
    """

    def __init__(self, *, low_mm: float, high_mm: float, maxiter: int, max_scans: int) -> None:
        self._bounds = (low_mm, high_mm)
        self._maxiter = maxiter
        self._max_scans = max_scans
        self._objective: dict[float, float] = {}

    def ask(self) -> float | None:
        """Give the next working distance to scan, or ``None`` when finished."""
        step = self._step()
        return None if step.done or self._is_spent() else step.x

    def tell(self, working_distance_mm: float, measurement: Measurement) -> None:
        """Report the scan at the working distance that was asked for."""
        variance = measurement.laplacian_variance
        # A featureless frame has no variance: as bad as can be, yet finite, as scipy needs it.
        self._objective[working_distance_mm] = 1.0 / max(variance, 1e-12)

    @property
    def outcome(self) -> SearchOutcome:
        """Scipy's answer, or the best scan so far."""
        step = self._step()
        if step.done:
            return SearchOutcome(
                step.x, SearchResult.FOUND, f"{len(self._objective)} scans of Brent's method"
            )
        best = min(self._objective, key=self._objective.__getitem__, default=None)
        reason = f"stopped after {len(self._objective)} scans"
        return SearchOutcome(best, SearchResult.BUDGET, reason)

    def _step(self) -> Step:
        return next_step(self._objective.get, self._bounds, maxiter=self._maxiter)

    def _is_spent(self) -> bool:
        return len(self._objective) >= self._max_scans
