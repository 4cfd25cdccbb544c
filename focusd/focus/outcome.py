"""How a search ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SearchResult(StrEnum):
    """Why a search has nothing more to ask."""

    FOUND = "found"
    NO_PEAK = "no_peak"
    """Sharpness does not depend on the working distance: there is nothing to focus on."""
    EDGE_OF_RANGE = "edge_of_range"
    """The sharpest picture is the one at a bound; focus may lie beyond."""
    BUDGET = "budget"
    """All scans are spent; the working distance is the best so far."""


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """Where focus is, as far as the search knows; ``None`` while nothing was scanned."""

    working_distance_mm: float | None
    result: SearchResult
    reason: str
