"""What all searches for focus share: the bookkeeping of ask and tell.

A search names a working distance, is told what a scan there showed, and names the next. It moves nothing
itself and knows no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from focusd.focus.measure import Measurement
from focusd.focus.outcome import SearchOutcome


@dataclass(frozen=True, slots=True)
class Scan:
    """What was seen at a working distance."""

    working_distance_mm: float
    measurement: Measurement


class Search(ABC):
    """A search in progress.

    Args:
        max_scans: Most scans asked for.
    """

    def __init__(self, max_scans: int) -> None:
        self._max_scans = max_scans
        self._asked = 0
        self._pending_mm: float | None = None
        self._outcome: SearchOutcome | None = None

    def ask(self) -> float | None:
        """Give the next working distance to scan, in millimetres; ``None`` when finished.

        Asked again before it was told, it gives the same answer.
        """
        if self._outcome is None and self._pending_mm is None:
            step = self._next()
            if isinstance(step, SearchOutcome):
                self._outcome = step
            elif self._asked >= self._max_scans:
                self._outcome = self._spent()
            else:
                self._asked += 1
                self._pending_mm = step
        return self._pending_mm

    def tell(self, working_distance_mm: float, measurement: Measurement) -> None:
        """Report a scan; scans that were not asked for are welcome and cost none of the budget."""
        self._pending_mm = None
        self._outcome = None
        self._take_in(Scan(working_distance_mm, measurement))

    @property
    def dwell_factor(self) -> float:
        """How many times as long as usual the next scan should rest on each pixel; no need to obey."""
        return 1.0

    @property
    def outcome(self) -> SearchOutcome:
        """The answer; before the end, the best so far with the result ``budget``."""
        return self._spent() if self._outcome is None else self._outcome

    @abstractmethod
    def _take_in(self, scan: Scan) -> None:
        """Learn from a scan."""

    @abstractmethod
    def _next(self) -> float | SearchOutcome:
        """Give the next place to scan, or the end."""

    @abstractmethod
    def _spent(self) -> SearchOutcome:
        """Give the answer if there were no more scans."""
